// Activations as integers, for products with packed weights: 32 neighbours share a scale, and each is two signed digits,
//   x ≈ scale · (256 high + low)
// which keeps 16 bits of the largest.

struct Block { eights: array<vec4<u32>, 4>, scale: f32, sum: f32 }

// Eight elements: high digits of two fours, then low digits; of their block the scale, and the sum of the integers, which
// weights with a zero point or a min are multiplied with.
struct Digits { words: vec4<u32>, scale: f32, sum: f32 }

// For all threads of a subgroup at once: neighbours in fours make a block.
fn toDigits(x: mat2x4<f32>) -> Digits {
  let sizes = max(abs(x[0]), abs(x[1]));
  var largest = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
  largest = max(largest, subgroupShuffleXor(largest, 1u));
  largest = max(largest, subgroupShuffleXor(largest, 2u));
  // Below that the reciprocal would overflow.
  let inverse = select(0.0, 32512.0 / max(largest, 1e-30), largest > 1e-30);
  let p = vec4<i32>(round(x[0] * inverse));
  let q = vec4<i32>(round(x[1] * inverse));
  let pHigh = (p + 128) >> vec4<u32>(8u);
  let qHigh = (q + 128) >> vec4<u32>(8u);
  let pLow = p - 256 * pHigh;
  let qLow = q - 256 * qHigh;
  let both = p + q;
  var sum = both.x + both.y + both.z + both.w;
  sum += subgroupShuffleXor(sum, 1u);
  sum += subgroupShuffleXor(sum, 2u);
  return Digits(vec4<u32>(packDigits(pHigh, qHigh), packDigits(pLow, qLow)), largest / 32512.0, f32(sum));
}

// The scale of weights' block `at` from the word that holds it.
fn scaleOf(word: u32, at: u32) -> f32 {
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, (at & 1u) == 1u);
}

// Σ weight · x over weights' block `at`, whose scale is in the word `scales`.
fn blockDot(w: array<vec4<u32>, BLOCK_WORDS>, scales: u32, at: u32, x: Block) -> f32 {
  return scaledDot(w, blockScale(scales, at), x);
}
