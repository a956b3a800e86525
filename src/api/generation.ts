import { LLMError } from "../errors.ts";
import type { Generation } from "./llm-interface.ts";
import type { GenerationEvent } from "./types.ts";

type Finish = Extract<GenerationEvent, { kind: "finish" }>;

/** A `Generation` over a source of events that ends with `finish`. It starts when it is first iterated or awaited. */
export function generation(source: () => AsyncGenerator<GenerationEvent, void, void>): Generation {
  let isStarted = false;
  let settle!: { resolve: (finish: Finish) => void; reject: (error: unknown) => void };
  const finished = new Promise<Finish>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Who only iterates meets errors there.
  finished.catch(() => {});

  async function* run(): AsyncGenerator<GenerationEvent, void, void> {
    if (isStarted) throw new LLMError("A reply can be iterated once. Call chat() or generate() again for another.");
    isStarted = true;
    let hasFinished = false;
    try {
      for await (const event of source()) {
        if (event.kind === "finish") {
          hasFinished = true;
          settle.resolve(event);
        }
        yield event;
      }
    } catch (error) {
      settle.reject(error);
      throw error;
    } finally {
      if (!hasFinished) settle.reject(new DOMException("The reply was left before its end.", "AbortError"));
    }
  }

  async function finish(): Promise<Finish> {
    if (!isStarted) for await (const _ of run());
    return finished;
  }

  return {
    [Symbol.asyncIterator]: run,
    finish,
    text: async () => (await finish()).text,
  };
}
