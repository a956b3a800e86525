interface ParentPort {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: { readonly data: never }) => void): void;
}

/** The process that started this one. This one ends with it, and not before: Ctrl-C in a terminal reaches both. */
export function parentPort(): ParentPort {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  process.on("disconnect", () => process.exit());
  return {
    postMessage: (message) => {
      // What cannot be cloned throws; that nobody listens any more is told by "disconnect".
      if (process.connected) process.send?.(message, undefined, undefined, () => {});
    },
    addEventListener: (_, listener) => {
      process.on("message", (data) => listener({ data: data as never }));
    },
  };
}
