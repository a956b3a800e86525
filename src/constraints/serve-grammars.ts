import type { GrammarMatcher } from "virtual:xgrammar";
import { nextMask } from "./grammar-constraint.ts";
import { GrammarError, GrammarHost } from "./grammar-host.ts";
import { type FromGrammars, LENGTH, MASK, type ToGrammars } from "./grammar-messages.ts";

interface Port {
  postMessage(message: FromGrammars): void;
  addEventListener(type: "message", listener: (event: { readonly data: ToGrammars }) => void): void;
}

interface Followed {
  readonly matcher: GrammarMatcher;
  readonly words: Int32Array;
  length: number;
}

/** Follows grammars for another thread, one thing after the other. */
export function serveGrammars(port: Port): void {
  let host: GrammarHost | undefined;
  const followed = new Map<number, Followed>();
  let last = Promise.resolve();
  port.addEventListener("message", ({ data }) => {
    last = last.then(() => receive(data));
  });

  async function receive(message: ToGrammars): Promise<void> {
    const start = performance.now();
    switch (message.kind) {
      case "vocabulary":
        host = new GrammarHost(message.vocabulary);
        return;
      case "open": {
        const { id, structure, tokens, shared } = message;
        const words = new Int32Array(shared);
        try {
          followed.set(id, { matcher: await host!.matcher(structure), words, length: 0 });
        } catch (error) {
          if (!(error instanceof GrammarError)) throw error;
          port.postMessage({ kind: "refused", id, message: error.message });
          return;
        }
        return follow(id, tokens, start);
      }
      case "accept":
        return follow(message.id, message.tokens, start);
      case "close":
        followed.get(message.id)?.matcher.dispose();
        followed.delete(message.id);
    }
  }

  function follow(id: number, tokens: readonly number[], start: number): void {
    const one = followed.get(id)!;
    one.words.set(nextMask(one.matcher, tokens), MASK);
    one.length += tokens.length;
    Atomics.store(one.words, LENGTH, one.length + 1);
    Atomics.notify(one.words, LENGTH);
    port.postMessage({ kind: "done", id, ms: performance.now() - start });
  }
}
