/** The module that vite.config.ts makes of the library, which as published is no ES module. */
declare module "virtual:xgrammar" {
  /** A fresh instance of the library, with memory of its own; what it has to say of errors goes to `log`. */
  export function createXGrammar(log: (message: string) => void): typeof import("@mlc-ai/web-xgrammar");
}
