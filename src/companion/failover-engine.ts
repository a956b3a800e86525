import type { EngineEvent, EngineRequest, EngineStats } from "../engine/engine.ts";
import { CompanionError } from "../errors.ts";
import { scoredOnce } from "./scored-once.ts";

interface ReplyingEngine {
  readonly isLost: boolean;
  generate(request: EngineRequest): AsyncGenerator<EngineEvent, void, void>;
  stats(): EngineStats | Promise<EngineStats>;
  clearCache(): void;
  dispose(): void;
}

/** An engine that leans on a companion, and another for when that is gone for good: replies go on where they were. */
export class FailoverEngine {
  readonly #first: ReplyingEngine;
  readonly #fallback: () => Promise<ReplyingEngine>;
  #coming: Promise<ReplyingEngine> | undefined;
  #successor: ReplyingEngine | undefined;
  /** Whoever is lost now stays so. */
  #isOver = false;
  #isDisposed = false;

  constructor(first: ReplyingEngine, fallback: () => Promise<ReplyingEngine>) {
    this.#first = first;
    this.#fallback = fallback;
  }

  get isLost(): boolean {
    return this.#successor ? this.#successor.isLost : this.#isOver && this.#first.isLost;
  }

  /** @throws what the engines throw; CompanionError where the companion is gone and nobody can take over */
  async *generate(request: EngineRequest): AsyncGenerator<EngineEvent, void, void> {
    const reply = [...(request.reply ?? [])];
    const { length } = reply;
    const score = scoredOnce(request);
    if (!this.#coming) {
      try {
        for await (const event of this.#first.generate({ ...request, score })) {
          if (event.kind === "token") reply.push(event.sampled.token);
          yield event;
        }
        return;
      } catch (error) {
        const isGone = error instanceof CompanionError && (error.reason === "lost" || error.reason === "unreachable");
        this.#isOver = !isGone;
        if (!isGone) throw error;
        this.#coming ??= this.#takeOver(error);
      }
    }
    const hasBegun = reply.length > length;
    for await (const event of (await this.#coming).generate({ ...request, score, reply })) {
      if (event.kind === "token" || !hasBegun) yield event;
    }
  }

  async stats(): Promise<EngineStats> {
    const stats = await this.#first.stats();
    if (!this.#successor) return stats;
    return {
      ...(await this.#successor.stats()),
      companion: stats.companion && { ...stats.companion, state: "replaced" },
    };
  }

  clearCache(): void {
    (this.#successor ?? this.#first).clearCache();
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#first.dispose();
    this.#successor?.dispose();
  }

  async #takeOver(gone: CompanionError): Promise<ReplyingEngine> {
    try {
      const successor = await this.#fallback();
      this.#successor = successor;
      if (this.#isDisposed) successor.dispose();
      return successor;
    } catch (cause) {
      // The companion may be there again, later.
      this.#coming = undefined;
      this.#isOver = true;
      const message = `${gone.message} Nor can the model run here: ${(cause as Error).message}`;
      throw new CompanionError(gone.reason, message, { cause });
    }
  }
}
