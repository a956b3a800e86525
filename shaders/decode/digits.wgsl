// Activations as integers, for products with packed weights: 32 neighbours share a scale, and each is two signed digits,
//   x ≈ scale · (256 high + low)
// which keeps 16 bits of the largest. A workgroup stages them once.

struct Block { eights: array<vec4<u32>, 4>, scale: f32, sum: f32 }

// [eight of a block][block]: high digits of two fours, then low digits.
var<workgroup> digits: array<vec4<u32>, 4u * BLOCKS>;
// [block]: the scale, and the sum of the integers, which weights with a zero point or a min are multiplied with.
var<workgroup> scales: array<vec2<f32>, BLOCKS>;

// The elements of eight `index`, for all threads at once: neighbours in fours make a block. `factor` multiplies its scale.
fn stageDigits(index: u32, x: mat2x4<f32>, factor: f32) {
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
  if (index >= 4u * BLOCKS) { return; }
  let block = index / 4u;
  digits[(index % 4u) * BLOCKS + block] = vec4<u32>(packDigits(pHigh, qHigh), packDigits(pLow, qLow));
  if (index % 4u == 0u) { scales[block] = vec2<f32>(largest / 32512.0 * factor, f32(sum)); }
}

// Beyond the last block its scale is 0.
fn stagedBlock(block: u32) -> Block {
  let i = min(block, BLOCKS - 1u);
  let scale = select(vec2<f32>(), scales[i], block < BLOCKS);
  let eights = array<vec4<u32>, 4>(digits[i], digits[BLOCKS + i], digits[2u * BLOCKS + i], digits[3u * BLOCKS + i]);
  return Block(eights, scale.x, scale.y);
}

// The scale of weights' block `at` from the word that holds it.
fn scaleOf(word: u32, at: u32) -> f32 {
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, (at & 1u) == 1u);
}
