// What the kernels of the delta rule by products of matrices agree on. A chunk is as many matrices of rows as half of the
// workgroup's subgroups, so that −W and Q together are one for each subgroup.
//
// Of each chunk and value head, as matrices [M, K] in f16, each in one piece:
//   [−W; e^γ Q] [2 CHUNK, KEY_DIM] | (e^(γ_end − γ) K)ᵀ [KEY_DIM, CHUNK] | P [CHUNK, CHUNK]
// and U [CHUNK, VALUE_DIM] as matrices [M, N] in f32. Q is without its factor 1/√KEY_DIM, to be far from f16's smallest.

const HALF = SUBGROUPS / 2u;
const WORKGROUP = SUBGROUPS * LANES;
const TILE = M * K / 8u;  // vectors of a matrix in f16
const KEYS_AT = 2u * CHUNK * KEY_DIM / 8u;
const MIXING_AT = KEYS_AT + KEY_DIM * CHUNK / 8u;
const OPERANDS = MIXING_AT + CHUNK * CHUNK / 8u;
const CORRECTIONS = CHUNK * VALUE_DIM / 4u;

// Where eight neighbours (row, 8 · column8 …) lie in a list of matrices that cover `columns` columns.
fn tileAt(row: u32, column8: u32, columns: u32) -> u32 {
  return (row / M * (columns / K) + column8 / (K / 8u)) * TILE + row % M * (K / 8u) + column8 % (K / 8u);
}

// A power of two: numbers up to `bound`, divided by it, are below 2^14, with bits to spare in f16.
fn scaleFor(bound: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(max(bound, 1e-30)) & 0x7f800000u) / 8192.0;
}

fn halves8(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(
    pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
}

fn largestOf(v: vec4<f32>) -> f32 {
  let pair = max(abs(v.xy), abs(v.zw));
  return max(pair.x, pair.y);
}
