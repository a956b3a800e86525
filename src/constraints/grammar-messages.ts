import type { GrammarVocabulary } from "./grammar-host.ts";
import type { Structure } from "./structure.ts";

/**
 * What a thread that follows grammars is told. After `open` and `accept` it works out which ids may come next, writes
 * that to the memory shared with the other side, and says that it is done.
 */
export type ToGrammars =
  | { readonly kind: "vocabulary"; readonly vocabulary: GrammarVocabulary }
  | {
      readonly kind: "open";
      readonly id: number;
      readonly structure: Structure;
      readonly tokens: readonly number[];
      readonly shared: SharedArrayBuffer;
    }
  | { readonly kind: "accept"; readonly id: number; readonly tokens: readonly number[] }
  | { readonly kind: "close"; readonly id: number };

export type FromGrammars =
  | { readonly kind: "done"; readonly id: number; readonly ms: number }
  /** The structure makes no grammar. */
  | { readonly kind: "refused"; readonly id: number; readonly message: string };

/** A thread with the surface of a `Worker`. */
export interface GrammarThread {
  postMessage(message: ToGrammars): void;
  addEventListener(type: "message", listener: (event: { readonly data: FromGrammars }) => void): void;
  terminate(): void;
}

/** Words of the shared memory: how many tokens the mask behind it follows, plus one; -1 where there is none to come. */
export const LENGTH = 0;
export const MASK = 1;
