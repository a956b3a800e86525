export interface Divergence {
  /** Mean of KL(expected ‖ actual) over tokens, in nats. */
  readonly meanKl: number;
  readonly largestKl: number;
  /** Share of tokens after which both hold the same token for the likeliest. */
  readonly agreement: number;
  readonly tokens: number;
}

/** How far logits [V] after each token lead to other probabilities than the expected ones. */
export function divergence(expected: readonly Float32Array[], actual: readonly Float32Array[]): Divergence {
  const kls = expected.map((logits, i) => klDivergence(logits, actual[i]));
  const agreeing = expected.filter((logits, i) => likeliest(logits) === likeliest(actual[i]));
  return {
    meanKl: kls.reduce((sum, kl) => sum + kl, 0) / kls.length,
    largestKl: Math.max(...kls),
    agreement: agreeing.length / expected.length,
    tokens: expected.length,
  };
}

/** Σ p (ln p − ln q) of the distributions that two rows of logits stand for. */
function klDivergence(expected: Float32Array, actual: Float32Array): number {
  const [p, q] = [logSoftmax(expected), logSoftmax(actual)];
  return p.reduce((sum, logP, i) => sum + Math.exp(logP) * (logP - q[i]), 0);
}

function logSoftmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const total = logits.reduce((sum, x) => sum + Math.exp(x - largest), 0);
  return Float64Array.from(logits, (x) => x - largest - Math.log(total));
}

const likeliest = (logits: Float32Array): number => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)));
