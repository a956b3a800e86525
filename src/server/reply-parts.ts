import type { ScoredToken, TokenLogprob, Usage } from "../api/types.ts";
import type { Finish } from "./job.ts";

/** Usage of several replies, as OpenAI counts it: prompts that were asked several replies of count once. */
export function usageOf(finishes: readonly Finish[], repliesPerPrompt = 1) {
  const sum = (of: (usage: Usage) => number, step = 1) =>
    finishes.reduce((total, { usage }, index) => (index % step === 0 ? total + of(usage) : total), 0);
  return usageCounts({
    prompt: sum(({ promptTokens }) => promptTokens, repliesPerPrompt),
    cached: sum(({ cachedTokens }) => cachedTokens, repliesPerPrompt),
    completion: sum(({ completionTokens }) => completionTokens),
    reasoning: sum(({ reasoningTokens }) => reasoningTokens),
  });
}

export const usageCounts = (count: { prompt: number; cached: number; completion: number; reasoning: number }) => ({
  prompt_tokens: count.prompt,
  completion_tokens: count.completion,
  total_tokens: count.prompt + count.completion,
  prompt_tokens_details: { cached_tokens: count.cached },
  completion_tokens_details: { reasoning_tokens: count.reasoning },
});

/** What llama.cpp's clients read. */
export function timingsOf({ usage }: Finish) {
  const { promptTokens, cachedTokens, completionTokens, prefillTokensPerSecond, decodeTokensPerSecond } = usage;
  const read = promptTokens - cachedTokens;
  const ms = (count: number, perSecond: number) => (perSecond > 0 ? (1000 * count) / perSecond : 0);
  return {
    cache_n: cachedTokens,
    prompt_n: read,
    prompt_ms: ms(read, prefillTokensPerSecond),
    prompt_per_second: prefillTokensPerSecond,
    predicted_n: completionTokens,
    predicted_ms: ms(completionTokens - 1, decodeTokensPerSecond),
    predicted_per_second: decodeTokensPerSecond,
    time_to_first_token_ms: usage.timeToFirstTokenMs,
  };
}

/** `logprobs` of a chat's choice. */
export const chatLogprobs = (tokens: readonly ScoredToken[]) => {
  const entry = ({ text, bytes, logprob }: TokenLogprob) => ({ token: text, logprob, bytes });
  return {
    content: tokens.map(({ top, ...token }) => ({ ...entry(token), top_logprobs: top.map(entry) })),
    refusal: null,
  };
};

/** `logprobs` of a completion's choice, whose text begins at `offset` of the whole. A NaN is a token without any. */
export function completionLogprobs(tokens: readonly ScoredToken[], offset: number) {
  const starts: number[] = [];
  let at = offset;
  for (const { text } of tokens) {
    starts.push(at);
    at += text.length;
  }
  return {
    tokens: tokens.map(tokenName),
    token_logprobs: tokens.map(({ logprob }) => (Number.isNaN(logprob) ? null : logprob)),
    top_logprobs: tokens.map(({ top, logprob }) =>
      Number.isNaN(logprob) ? null : Object.fromEntries(top.map((token) => [tokenName(token), token.logprob])),
    ),
    text_offset: starts,
  };
}

/** Tokens that are not whole characters are told apart by their bytes. */
const tokenName = ({ text, bytes }: TokenLogprob): string =>
  text.includes("\uFFFD") ? `bytes:${bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}` : text;

/** What vLLM adds to `finish_reason`: the text or the token that ended the reply, null for the model's own. */
export const stopReason = ({ stop }: Finish): string | number | null => stop ?? null;
