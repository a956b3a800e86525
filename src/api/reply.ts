import type { Engine } from "../engine/engine.ts";
import type { ResolvedSampling, Sampled } from "../engine/runner.ts";
import { StopStrings } from "../tokenizer/stop-strings.ts";
import { TextStream } from "../tokenizer/text-stream.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { tokenLogprobs, tokenText } from "./logprobs.ts";
import type { FinishReason, GenerateParams, GenerationEvent, Usage } from "./types.ts";

export interface ReplyRequest {
  readonly prompt: readonly number[];
  readonly boundary?: number;
  readonly sampling: ResolvedSampling;
  readonly params: GenerateParams;
  /** When the caller asked, by `performance.now()`. */
  readonly startMs: number;
}

type TextEvent = Extract<GenerationEvent, { kind: "text" }>;

/** One reply from an engine, as events: token ids become text, stop texts end it, and times are taken. */
export async function* reply(
  engine: Engine,
  tokenizer: Tokenizer | undefined,
  request: ReplyRequest,
): AsyncGenerator<GenerationEvent, void, void> {
  const { prompt, params, sampling } = request;
  const clock = new Clock(request.startMs, prompt.length);
  const text = tokenizer && new ReplyText(tokenizer, params.stop);
  const reported: number[] = [];
  const pending: { ids: number[]; logprobs: NonNullable<TextEvent["logprobs"]>[number][] } = { ids: [], logprobs: [] };
  let whole = "";
  let reason: FinishReason = "abort";
  let stop: string | number | undefined;

  const flush = (piece: string): TextEvent => {
    const event = {
      kind: "text",
      text: piece,
      tokenIds: pending.ids,
      ...(params.logprobs !== undefined && { logprobs: pending.logprobs }),
    } as const;
    whole += piece;
    reported.push(...pending.ids);
    pending.ids = [];
    pending.logprobs = [];
    return event;
  };

  const engineRequest = { ...request, logits: params.logprobs !== undefined, signal: params.signal };
  for await (const event of engine.generate(engineRequest)) {
    if (event.kind === "prefill") {
      clock.prefill(event.cached);
      yield { kind: "prefill", done: event.done, total: event.total };
      continue;
    }
    const { sampled } = event;
    clock.token();
    const isStop = sampling.stopIds.includes(sampled.token);
    if (!isStop) {
      pending.ids.push(sampled.token);
      if (params.logprobs !== undefined) pending.logprobs.push(logprobsOf(sampled, params.logprobs, tokenizer));
    }
    const piece = isStop ? "" : (text?.push(sampled.token) ?? "");
    if (piece !== "" || (!text && !isStop)) yield flush(piece);
    if (text?.hasStopped || isStop) reason = "stop";
    else if (sampled.isLast) reason = "length";
    if (isStop && params.stopTokenIds?.includes(sampled.token)) stop = sampled.token;
    if (reason !== "abort") break;
  }
  const rest = text?.flush() ?? "";
  if (rest !== "" || pending.ids.length > 0) yield flush(rest);
  stop ??= text?.stop;
  yield {
    kind: "finish",
    reason,
    ...(stop !== undefined && { stop }),
    text: whole,
    tokenIds: reported,
    usage: clock.usage(),
  };
}

/** Decodes tokens, and holds back what may become a stop text. */
class ReplyText {
  readonly #stream: TextStream;
  readonly #stops: StopStrings;
  /** The stop text that was met. */
  stop: string | undefined;

  constructor(tokenizer: Tokenizer, stop: GenerateParams["stop"]) {
    this.#stream = new TextStream(tokenizer, { skipSpecial: true });
    this.#stops = new StopStrings(typeof stop === "string" ? [stop] : (stop ?? []));
  }

  get hasStopped(): boolean {
    return this.stop !== undefined;
  }

  push(token: number): string {
    return this.#search(this.#stream.push([token]));
  }

  flush(): string {
    if (this.hasStopped) return "";
    const text = this.#search(this.#stream.flush());
    return this.hasStopped ? text : text + this.#stops.flush();
  }

  #search(piece: string): string {
    const { text, stop } = this.#stops.push(piece);
    this.stop ??= stop;
    return text;
  }
}

function logprobsOf(sampled: Sampled, count: number, tokenizer: Tokenizer | undefined) {
  return tokenLogprobs(sampled.logits!, sampled.token, count, tokenText(tokenizer));
}

class Clock {
  readonly #startMs: number;
  readonly #promptTokens: number;
  #prefillMs: number | undefined;
  #cached = 0;
  #firstMs = 0;
  #lastMs = 0;
  #tokens = 0;

  constructor(startMs: number, promptTokens: number) {
    this.#startMs = startMs;
    this.#promptTokens = promptTokens;
  }

  prefill(cached: number): void {
    this.#prefillMs ??= performance.now();
    this.#cached = cached;
  }

  token(): void {
    this.#lastMs = performance.now();
    if (this.#tokens++ === 0) this.#firstMs = this.#lastMs;
  }

  usage(): Usage {
    const perSecond = (count: number, ms: number) => (count > 0 && ms > 0 ? (1000 * count) / ms : 0);
    const hasBegun = this.#tokens > 0 && this.#prefillMs !== undefined;
    return {
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cached,
      completionTokens: this.#tokens,
      reasoningTokens: 0,
      timeToFirstTokenMs: hasBegun ? this.#firstMs - this.#startMs : 0,
      prefillTokensPerSecond: hasBegun
        ? perSecond(this.#promptTokens - this.#cached, this.#firstMs - this.#prefillMs!)
        : 0,
      decodeTokensPerSecond: perSecond(this.#tokens - 1, this.#lastMs - this.#firstMs),
    };
  }
}
