// The input as digits in workgroup memory, staged once.

// [eight of a block][block]
var<workgroup> digits: array<vec4<u32>, 4u * BLOCKS>;
// [block]: scale and sum
var<workgroup> scales: array<vec2<f32>, BLOCKS>;

// The elements of eight `index`, for all threads at once. `factor` multiplies its scale.
fn stageDigits(index: u32, x: mat2x4<f32>, factor: f32) {
  let eight = toDigits(x);
  if (index >= 4u * BLOCKS) { return; }
  let block = index / 4u;
  digits[(index % 4u) * BLOCKS + block] = eight.words;
  if (index % 4u == 0u) { scales[block] = vec2<f32>(eight.scale * factor, eight.sum); }
}

// Beyond the last block its scale is 0.
fn stagedBlock(block: u32) -> Block {
  let i = min(block, BLOCKS - 1u);
  let scale = select(vec2<f32>(), scales[i], block < BLOCKS);
  let eights = array<vec4<u32>, 4>(digits[i], digits[BLOCKS + i], digits[2u * BLOCKS + i], digits[3u * BLOCKS + i]);
  return Block(eights, scale.x, scale.y);
}
