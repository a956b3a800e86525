import type { CompanionStats } from "../api/types.ts";
import type { EngineEvent, EngineRequest, EngineStats } from "../engine/engine.ts";
import { floats } from "./frames.ts";
import { BrokenLink, type Link } from "./link.ts";
import type { GenerateMessage, WireEvent } from "./protocol.ts";
import { scoredOnce } from "./scored-once.ts";

const NO_STATS: EngineStats = {
  running: 0,
  waiting: 0,
  waitingTokens: 0,
  preempted: 0,
  blocks: { used: 0, cached: 0, total: 0 },
  snapshots: 0,
  cachedTokens: { hit: 0, queried: 0 },
  steps: { prefill: 0, decode: 0 },
  tokens: { prompt: 0, reply: 0 },
  nanReplays: 0,
};

export const NO_SUMS: CompanionStats["sums"] = { count: 0, rows: 0, experts: 0, waitMs: 0 };

/** An engine at the other end of a link. Where the link breaks, a reply goes on from the tokens that have come. */
export class RemoteEngine {
  readonly #link: Link;
  /** What the server has said last. */
  #stats = NO_STATS;
  readonly isLost = false;

  constructor(link: Link) {
    this.#link = link;
  }

  async *generate(request: EngineRequest): AsyncGenerator<EngineEvent, void, void> {
    const { signal, mask, sampling } = request;
    const reply = [...(request.reply ?? [])];
    const limit = sampling.maxTokens;
    let hasBegun = false;
    const score = scoredOnce(request);
    while (!signal?.aborted) {
      // A mask depends on what was drawn: it goes with each token.
      const part = {
        ...request,
        score,
        reply,
        sampling: mask ? { ...sampling, maxTokens: reply.length + 1 } : sampling,
      };
      try {
        let isLast = true;
        for await (const event of this.#part(part)) {
          if (event.kind === "token") {
            reply.push(event.sampled.token);
            const { isLast: ended, token } = event.sampled;
            isLast = mask ? sampling.stopIds.includes(token) || reply.length >= limit : ended;
            yield { kind: "token", sampled: { ...event.sampled, isLast } };
          } else if (!hasBegun) yield event;
        }
        if (isLast) return;
      } catch (error) {
        // Sent again with what has come, the request goes on where it was.
        if (!(error instanceof BrokenLink)) throw error;
      } finally {
        hasBegun = reply.length > (request.reply?.length ?? 0);
      }
    }
  }

  /** Does not wait for a link that is broken. */
  async stats(): Promise<EngineStats> {
    const link = this.#link;
    try {
      if (link.state === "connected") {
        for await (const { header } of link.request({ kind: "stats" })) this.#stats = header.value as EngineStats;
      }
    } catch (error) {
      if (!(error instanceof BrokenLink)) throw error;
    }
    return { ...this.#stats, companion: { state: link.state, ...link.counts, sums: NO_SUMS } };
  }

  /** What the server keeps is of many. */
  clearCache(): void {}

  dispose(): void {
    this.#link.close();
  }

  async *#part({ prompt, reply = [], sampling, boundaries, logits = false, mask, score, signal }: EngineRequest) {
    const masked = mask?.(reply) ?? new Uint32Array(0);
    const header: Omit<GenerateMessage, "id"> = {
      kind: "generate",
      promptTokens: prompt.length,
      replyTokens: reply.length,
      maskWords: masked.length,
      boundaries,
      logits,
      score: score !== undefined,
      sampling: { ...sampling, logitBias: [...sampling.logitBias] },
    };
    const numbers = [Uint32Array.from(prompt), Uint32Array.from(reply), masked];
    for await (const { header: answer, payload } of this.#link.request(header, numbers, signal)) {
      if (answer.kind !== "event") continue;
      const event = answer.event as WireEvent;
      if (event.kind === "scored") score!(floats(payload), event.position);
      else if (event.kind === "prefill") yield event;
      else yield { kind: "token", sampled: { ...event.sampled, ...(logits && { logits: floats(payload) }) } } as const;
    }
  }
}
