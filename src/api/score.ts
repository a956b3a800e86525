import type { Engine } from "../engine/engine.ts";
import { GREEDY } from "../engine/runner.ts";
import { InvalidRequestError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { tokenLogprobs, tokenText } from "./logprobs.ts";
import type { ScoredToken, ScoreParams } from "./types.ts";

/** The log-probability of every token but the first. The last is not read: nothing follows it. */
export async function score(
  engine: Pick<Engine, "generate">,
  tokenizer: Tokenizer | undefined,
  ids: readonly number[],
  { logprobs = 0, signal }: ScoreParams,
  vocabulary: number,
): Promise<ScoredToken[]> {
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (bad !== undefined) throw new InvalidRequestError("prompt", `${bad} is not a token id.`);
  const scored: ScoredToken[] = [];
  const prompt = ids.slice(0, -1);
  if (prompt.length === 0) return scored;
  const score = (logits: Float32Array, position: number) => {
    scored.push(tokenLogprobs(logits, ids[position + 1], logprobs, tokenText(tokenizer)));
  };
  for await (const _ of engine.generate({ prompt, sampling: { ...GREEDY, maxTokens: 0 }, score, signal }));
  signal?.throwIfAborted();
  return scored;
}
