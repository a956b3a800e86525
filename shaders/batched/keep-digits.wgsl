@group(0) @binding(1) var<storage, read_write> digits: array<vec4<u32>>;       // [row][eight of a block][block]
@group(0) @binding(3) var<storage, read_write> digitScales: array<vec2<f32>>;  // [row][block], scale and sum

// Elements 8 · index … of the row, if it has so many, times `scale`. For all threads of a subgroup at once.
fn keepEight(index: u32, x: mat2x4<f32>, scale: f32) {
  let eight = toDigits(x);
  if (index >= 4u * BLOCKS) { return; }
  digits[(inputRow * 4u + index % 4u) * BLOCKS + index / 4u] = eight.words;
  if (index % 4u == 0u) { digitScales[inputRow * BLOCKS + index / 4u] = vec2<f32>(scale * eight.scale, eight.sum); }
  keepRow(index, x, scale);
}
