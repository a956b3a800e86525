/** The module that vite.config.ts makes of the library, which as published is no ES module. */
declare module "virtual:xgrammar" {
  type Library = typeof import("@mlc-ai/web-xgrammar");

  /** As the library's, but for the mask, which is there at once. */
  export type GrammarMatcher = Omit<import("@mlc-ai/web-xgrammar").GrammarMatcher, "getNextTokenBitmask"> & {
    getNextTokenBitmask(): Int32Array<ArrayBuffer>;
  };

  export type XGrammar = Omit<Library, "GrammarMatcher"> & {
    readonly GrammarMatcher: {
      createGrammarMatcher(
        ...options: Parameters<Library["GrammarMatcher"]["createGrammarMatcher"]>
      ): Promise<GrammarMatcher>;
    };
  };

  /** A fresh instance of the library, with memory of its own; what it has to say of errors goes to `log`. */
  export function createXGrammar(log: (message: string) => void): XGrammar;
}
