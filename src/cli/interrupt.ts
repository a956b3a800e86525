/** Aborts with the first Ctrl-C; the second ends the process, as it does without us. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  process.once("SIGINT", () => controller.abort());
  return controller.signal;
}
