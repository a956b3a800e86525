@group(0) @binding(6) var<storage, read_write> floats: array<vec4<f32>>;  // [row][first fours of all eights, then second]

fn notePeak(x: mat2x4<f32>, thread: u32, round: u32) {}

fn keepRow(index: u32, x: mat2x4<f32>, scale: f32) {
  let at = inputRow * (COLUMNS / 4u) + index;
  floats[at] = scale * x[0];
  floats[at + COLUMNS / 8u] = scale * x[1];
}
