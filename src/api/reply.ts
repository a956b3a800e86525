import type { ChatPlan } from "../chat/chat-plan.ts";
import { Steering } from "../chat/steering.ts";
import type { Constraint } from "../constraints/constraint.ts";
import type { Engine } from "../engine/engine.ts";
import type { ResolvedSampling } from "../engine/runner.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { ReplyClock } from "./reply-clock.ts";
import { ReplyEvents } from "./reply-events.ts";
import type { FinishReason, GenerateParams, GenerationEvent } from "./types.ts";

export interface ReplyRequest {
  readonly prompt: readonly number[];
  readonly boundaries?: readonly number[];
  readonly sampling: ResolvedSampling;
  readonly params: GenerateParams;
  /** How the reply to a chat is read and steered. */
  readonly plan?: ChatPlan;
  /** What its tokens are held to. */
  readonly constraint?: Pick<Constraint, "mask" | "prepare">;
  /** Tokens of prompt and reply together. */
  readonly maxContext: number;
  /** When the caller asked, by `performance.now()`. */
  readonly startMs: number;
}

/**
 * One reply from an engine, as events: tokens become text, thoughts and calls, stop texts end it, and times are taken.
 * Where the reply has to go on with given tokens, the engine is left, and asked to go on from them.
 */
export async function* reply(
  engine: Pick<Engine, "generate">,
  tokenizer: Tokenizer | undefined,
  request: ReplyRequest,
): AsyncGenerator<GenerationEvent, void, void> {
  const { prompt, boundaries, params, sampling, plan, constraint, maxContext } = request;
  const clock = new ReplyClock(request.startMs, prompt.length);
  const events = new ReplyEvents(tokenizer, params, plan?.parser);
  const steering = plan && new Steering(plan, events.parser!);
  let given = encode(steering?.begin());
  let givenTokens = 0;
  let reason: FinishReason | undefined;
  let stop: string | number | undefined;

  function encode(text = ""): number[] {
    return text === "" ? [] : tokenizer!.encode(text);
  }

  const limit = Math.min(sampling.maxTokens, maxContext - prompt.length);
  for (let part = 0; reason === undefined; part++) {
    const written = [...events.tokenIds, ...given];
    if (part > 0 && written.length >= limit) {
      reason = "length";
      break;
    }
    // Where it is known beforehand, the engine ends by itself: to leave it would take a step too many.
    const maxTokens = Math.min(limit, written.length + (steering?.tokensLeft ?? limit));
    reason = "abort";
    const generation = engine.generate({
      prompt,
      reply: written,
      boundaries,
      sampling: {
        ...sampling,
        maxTokens: Math.max(maxTokens, written.length + 1),
      },
      logits: params.logprobs !== undefined,
      mask: constraint && ((reply) => constraint.mask(reply)),
      prepareMask: constraint && ((reply) => constraint.prepare(reply)),
      signal: params.signal,
    });
    for await (const event of generation) {
      if (event.kind === "prefill") {
        if (part > 0) continue;
        clock.prefill(event.cached);
        yield { kind: "prefill", done: event.done, total: event.total };
        continue;
      }
      const { sampled } = event;
      const { token } = sampled;
      const isStop = sampling.stopIds.includes(token);
      clock.token();
      for (const id of given) yield* events.push(id);
      givenTokens += given.length;
      given = [];
      if (!isStop) yield* events.push(token, sampled);
      if (isStop && params.stopTokenIds?.includes(token)) stop = token;
      if (isStop || events.stop !== undefined || (plan?.isSingleCall && events.parser!.toolCalls.length > 0)) {
        reason = "stop";
        break;
      }
      if (events.tokenIds.length >= limit) {
        reason = "length";
        break;
      }
      const next = steering?.next(token);
      if (next === undefined && !sampled.isLast) continue;
      given = encode(next);
      reason = undefined;
      break;
    }
  }

  yield* events.end();
  const { parser, text, tokenIds, reasoningTokens } = events;
  stop ??= events.stop;
  const toolCalls = parser?.toolCalls ?? [];
  yield {
    kind: "finish",
    reason: reason === "stop" && toolCalls.length > 0 ? "tool_calls" : reason,
    ...(stop !== undefined && { stop }),
    text,
    ...(parser?.reasoning && { reasoning: parser.reasoning }),
    ...(toolCalls.length > 0 && { toolCalls }),
    tokenIds,
    ...(steering?.endedBy && { thoughtsEndedBy: steering.endedBy }),
    usage: clock.usage(givenTokens, reasoningTokens),
  };
}
