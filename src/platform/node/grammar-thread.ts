import { Worker } from "node:worker_threads";
import type { GrammarThread } from "../../constraints/grammar-messages.ts";

/** Starts a thread of a built program that follows grammars. It keeps no process from ending. */
export function grammarThread(script: string): GrammarThread {
  const worker = new Worker(script);
  worker.unref();
  return {
    postMessage: (message) => worker.postMessage(message),
    addEventListener: (_, listener) => worker.on("message", (data) => listener({ data })),
    terminate: () => void worker.terminate(),
  };
}
