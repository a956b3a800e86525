@group(0) @binding(6) var<storage, read_write> floats: array<vec4<f32>>;  // [row][first fours of all eights, then second]

fn keepFloats(index: u32, x: mat2x4<f32>) {
  let at = inputRow * (COLUMNS / 4u) + index;
  floats[at] = x[0];
  floats[at + COLUMNS / 8u] = x[1];
}
