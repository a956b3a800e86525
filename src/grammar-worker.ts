import { parentPort } from "node:worker_threads";
import { serveGrammars } from "./constraints/serve-grammars.ts";

const port = parentPort!;
serveGrammars({
  postMessage: (message) => port.postMessage(message),
  addEventListener: (_, listener) => port.on("message", (data) => listener({ data })),
});
