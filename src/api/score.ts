import type { Engine } from "../engine/engine.ts";
import type { ResolvedSampling } from "../engine/runner.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { tokenLogprobs, tokenText } from "./logprobs.ts";
import type { ScoredToken, ScoreParams } from "./types.ts";

/**
 * The log-probability of every token but the first. Each is what the engine would draw after the tokens before it, so a
 * text of n tokens takes n − 1 short requests, each of which goes on from the state of the last.
 */
export async function score(
  engine: Engine,
  tokenizer: Tokenizer | undefined,
  ids: readonly number[],
  { logprobs = 0, signal }: ScoreParams,
): Promise<ScoredToken[]> {
  const scored: ScoredToken[] = [];
  for (let end = 1; end < ids.length; end++) {
    const prompt = ids.slice(0, end);
    for await (const event of engine.generate({ prompt, sampling: ONE_TOKEN, logits: true, signal })) {
      if (event.kind !== "token") continue;
      scored.push(tokenLogprobs(event.sampled.logits!, ids[end], logprobs, tokenText(tokenizer)));
    }
    signal?.throwIfAborted();
  }
  return scored;
}

const ONE_TOKEN: ResolvedSampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  seed: 0,
  logitBias: new Map(),
  stopIds: [],
  maxTokens: 1,
};
