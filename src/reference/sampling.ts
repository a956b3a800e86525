/** How a token is drawn; a `ResolvedSampling` of the engine fits. */
export interface Sampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly repetitionPenalty: number;
  readonly logitBias: ReadonlyMap<number, number>;
}

/** Set in a token's count where the prompt holds the token; the bits below count how often the reply does. */
export const IN_PROMPT = 0x80000000;

/** Logits [V] with bias, then penalties: repetition on what prompt or reply hold, frequency and presence on the reply. */
export function processLogits(logits: Float32Array, sampling: Sampling, counts: Uint32Array): Float32Array {
  const { repetitionPenalty, frequencyPenalty, presencePenalty, logitBias } = sampling;
  return logits.map((logit, id) => {
    const biased = logit + (logitBias.get(id) ?? 0);
    if (counts[id] === 0) return biased;
    const repeated = biased > 0 ? biased / repetitionPenalty : biased * repetitionPenalty;
    const inReply = counts[id] & ~IN_PROMPT;
    return inReply === 0 ? repeated : repeated - inReply * frequencyPenalty - presencePenalty;
  });
}

/**
 * The token drawn from processed logits by `u` in [0, 1). Temperature 0 takes the largest logit. Otherwise probabilities
 * at that temperature are cut by `keptTokens`, and u picks from their running sum in ascending order of ids: the first
 * token at which the sum exceeds u times the whole. Equal logits go by the lower id everywhere.
 */
export function sampleToken(processed: Float32Array, sampling: Sampling, u: number): number {
  const order = Array.from(processed.keys()).sort((a, b) => processed[b] - processed[a] || a - b);
  if (sampling.temperature === 0) return order[0];
  const shares = order.map((id) => Math.exp((processed[id] - processed[order[0]]) / sampling.temperature));
  const kept = keptTokens(shares, sampling);
  const byId = order
    .slice(0, kept)
    .map((id, rank) => ({ id, share: shares[rank] }))
    .sort((a, b) => a.id - b.id);
  let target = u * byId.reduce((sum, { share }) => sum + share, 0);
  for (const { id, share } of byId) {
    if (target < share) return id;
    target -= share;
  }
  return byId.at(-1)!.id;
}

/**
 * How many of the tokens survive, given their shares in descending order, the first being 1: the topK largest; of those
 * the fewest whose shares reach topP of the sum; of those the ones with at least minP of the largest. Never none.
 */
export function keptTokens(
  shares: readonly number[],
  { topK, topP, minP }: Pick<Sampling, "topK" | "topP" | "minP">,
): number {
  let kept = topK > 0 ? Math.min(topK, shares.length) : shares.length;
  if (topP < 1) {
    const enough = topP * shares.slice(0, kept).reduce((sum, share) => sum + share, 0);
    let sum = shares[0];
    let count = 1;
    while (sum < enough && count < kept) sum += shares[count++];
    kept = count;
  }
  while (kept > 1 && shares[kept - 1] < minP) kept--;
  return kept;
}
