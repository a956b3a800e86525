import type { DeltaTokens } from "./delta-rule.ts";

/**
 * The gated delta rule, `chunk` tokens at a time: the same as `deltaRule`, in dense products (architecture: chunk-parallel
 * form). Updates S [keyDim, valueDim], returns o [T, valueDim].
 */
export function deltaRuleChunked(tokens: DeltaTokens, S: Float32Array, chunk = 64): Float64Array {
  const count = tokens.g.length;
  const keyDim = tokens.q.length / count;
  const valueDim = tokens.v.length / count;
  const o = new Float64Array(tokens.v.length);
  for (let from = 0; from < count; from += chunk) {
    const to = Math.min(from + chunk, count);
    const part: DeltaTokens = {
      q: tokens.q.subarray(from * keyDim, to * keyDim),
      k: tokens.k.subarray(from * keyDim, to * keyDim),
      v: tokens.v.subarray(from * valueDim, to * valueDim),
      beta: tokens.beta.subarray(from, to),
      g: tokens.g.subarray(from, to),
    };
    o.set(oneChunk(part, S, keyDim, valueDim), from * valueDim);
  }
  return o;
}

/** γ [C], A and T = (I + A)⁻¹ [C, C], U = T diag(β) V [C, valueDim], W = T diag(β e^γ) K [C, keyDim]: free of S. */
export interface ChunkTerms {
  readonly gamma: Float64Array;
  readonly A: Float64Array;
  readonly T: Float64Array;
  readonly U: Float64Array;
  readonly W: Float64Array;
}

export function chunkTerms({ k, v, beta, g }: DeltaTokens): ChunkTerms {
  const C = g.length;
  const keyDim = k.length / C;
  const valueDim = v.length / C;
  let sum = 0;
  const gamma = g.map((value) => {
    sum += value;
    return sum;
  });
  const A = matrix(C, C, (i, j) => (i > j ? beta[i] * inner(k, i, k, j, keyDim) * Math.exp(gamma[i] - gamma[j]) : 0));
  const T = unitLowerInverse(A, C);
  const betaV = matrix(C, valueDim, (i, c) => beta[i] * v[i * valueDim + c]);
  const betaK = matrix(C, keyDim, (i, c) => beta[i] * Math.exp(gamma[i]) * k[i * keyDim + c]);
  return { gamma, A, T, U: product(T, betaV, C, C, valueDim), W: product(T, betaK, C, C, keyDim) };
}

/** Δ = U − W S; O = diag(e^γ) Q S + (tril(Q Kᵀ) ⊙ D) Δ; S ← e^γ_C S + (diag(e^(γ_C − γ)) K)ᵀ Δ. */
function oneChunk(tokens: DeltaTokens, S: Float32Array, keyDim: number, valueDim: number): Float64Array {
  const { q, k } = tokens;
  const { gamma, U, W } = chunkTerms(tokens);
  const C = gamma.length;
  const last = gamma[C - 1];
  const recalled = product(W, S, C, keyDim, valueDim);
  const delta = U.map((value, i) => value - recalled[i]);
  const scores = matrix(C, C, (i, j) => (i >= j ? inner(q, i, k, j, keyDim) * Math.exp(gamma[i] - gamma[j]) : 0));
  const within = product(scores, delta, C, C, valueDim);
  const before = product(q, S, C, keyDim, valueDim);
  const o = matrix(C, valueDim, (i, c) => Math.exp(gamma[i]) * before[i * valueDim + c] + within[i * valueDim + c]);
  const fading = matrix(keyDim, C, (r, i) => Math.exp(last - gamma[i]) * k[i * keyDim + r]);
  const written = product(fading, delta, keyDim, C, valueDim);
  for (let i = 0; i < S.length; i++) S[i] = Math.exp(last) * S[i] + written[i];
  return o;
}

/** (I + A)⁻¹ for a strictly lower A, row by row: T_i = e_i − Σ_{j<i} A_ij T_j. */
function unitLowerInverse(A: Float64Array, size: number): Float64Array {
  const T = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    T[i * size + i] = 1;
    for (let j = 0; j < i; j++) {
      for (let c = 0; c <= j; c++) T[i * size + c] -= A[i * size + j] * T[j * size + c];
    }
  }
  return T;
}

function matrix(rows: number, columns: number, value: (row: number, column: number) => number): Float64Array {
  const y = new Float64Array(rows * columns);
  for (let i = 0; i < y.length; i++) y[i] = value(Math.floor(i / columns), i % columns);
  return y;
}

type Numbers = Float32Array | Float64Array;

/** a [rows, inner] · b [inner, columns] */
function product(a: Numbers, b: Numbers, rows: number, depth: number, columns: number): Float64Array {
  const y = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < depth; i++) {
      for (let c = 0; c < columns; c++) y[row * columns + c] += a[row * depth + i] * b[i * columns + c];
    }
  }
  return y;
}

/** The product of row i of a and row j of b. */
function inner(a: Numbers, i: number, b: Numbers, j: number, size: number): number {
  let sum = 0;
  for (let c = 0; c < size; c++) sum += a[i * size + c] * b[j * size + c];
  return sum;
}
