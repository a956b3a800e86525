import type { Engine } from "../engine/engine.ts";
import type { ResolvedSampling } from "../engine/runner.ts";
import { InvalidRequestError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { tokenLogprobs, tokenText } from "./logprobs.ts";
import type { ScoredToken, ScoreParams } from "./types.ts";

/** The log-probability of every token but the first: the text is one reply of which each token may only be what it is. */
export async function score(
  engine: Engine,
  tokenizer: Tokenizer | undefined,
  ids: readonly number[],
  { logprobs = 0, signal }: ScoreParams,
  vocabulary: number,
): Promise<ScoredToken[]> {
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (bad !== undefined) throw new InvalidRequestError("prompt", `${bad} is not a token id.`);
  const [first, ...rest] = ids;
  const scored: ScoredToken[] = [];
  if (rest.length === 0) return scored;
  const mask = (reply: readonly number[]) => {
    const words = new Uint32Array(Math.ceil(vocabulary / 32));
    const next = rest[Math.min(reply.length, rest.length - 1)];
    words[next >> 5] = 1 << (next & 31);
    return words;
  };
  const sampling = { ...GREEDY, maxTokens: rest.length };
  for await (const event of engine.generate({ prompt: [first], sampling, mask, logits: true, signal })) {
    if (event.kind !== "token") continue;
    scored.push(tokenLogprobs(event.sampled.logits!, event.sampled.token, logprobs, tokenText(tokenizer)));
  }
  signal?.throwIfAborted();
  return scored;
}

const GREEDY: Omit<ResolvedSampling, "maxTokens"> = {
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
};
