import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ScoredToken, TokenLogprob } from "./types.ts";

/** Log-probabilities (softmax of the model's raw logits) of a token and of the `count` likeliest. */
export function tokenLogprobs(
  logits: Float32Array,
  token: number,
  count: number,
  text: (id: number) => Pick<TokenLogprob, "text" | "bytes">,
): ScoredToken {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const norm = largest + Math.log(sum);
  const entry = (id: number): TokenLogprob => ({ id, ...text(id), logprob: logits[id] - norm });
  return { ...entry(token), top: likeliest(logits, count).map(entry) };
}

/** How `tokenLogprobs` writes tokens. */
export const tokenText = (tokenizer: Tokenizer | undefined) => (id: number) => ({
  text: tokenizer?.decode([id]) ?? "",
  bytes: Array.from(tokenizer?.bytes(id) ?? []),
});

/** Ids of the `count` largest logits, best first. */
function likeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  if (count === 0) return best;
  for (let id = 0; id < logits.length; id++) {
    if (best.length === count && logits[id] <= logits[best[count - 1]]) continue;
    let at = best.length;
    while (at > 0 && logits[id] > logits[best[at - 1]]) at--;
    best.splice(at, 0, id);
    best.length = Math.min(best.length, count);
  }
  return best;
}
