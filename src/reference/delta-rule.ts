/**
 * One value head over the tokens of one sequence. Row i of q and k [T, keyDim] is normalised, and q scaled; v [T, valueDim];
 * `beta` and `g` [T] are the write strength and the logarithm of the decay.
 */
export interface DeltaTokens {
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly beta: Float64Array;
  readonly g: Float64Array;
}

/**
 * The gated delta rule, token by token: S ← e^g S; d = β (v − Sᵀk); S ← S + k dᵀ; o = Sᵀq. Updates S [keyDim, valueDim],
 * returns o [T, valueDim].
 */
export function deltaRule({ q, k, v, beta, g }: DeltaTokens, S: Float32Array): Float64Array {
  const tokens = g.length;
  const keyDim = q.length / tokens;
  const valueDim = v.length / tokens;
  const o = new Float64Array(tokens * valueDim);
  const d = new Float64Array(valueDim);
  for (let t = 0; t < tokens; t++) {
    const decay = Math.exp(g[t]);
    d.fill(0);
    for (let i = 0; i < keyDim; i++) {
      const key = decay * k[t * keyDim + i];
      for (let c = 0; c < valueDim; c++) d[c] += S[i * valueDim + c] * key;
    }
    for (let c = 0; c < valueDim; c++) d[c] = beta[t] * (v[t * valueDim + c] - d[c]);
    const out = o.subarray(t * valueDim, (t + 1) * valueDim);
    for (let i = 0; i < keyDim; i++) {
      const key = k[t * keyDim + i];
      const query = q[t * keyDim + i];
      for (let c = 0; c < valueDim; c++) {
        const s = decay * S[i * valueDim + c] + key * d[c];
        S[i * valueDim + c] = s;
        out[c] += s * query;
      }
    }
  }
  return o;
}
