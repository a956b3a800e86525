@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;  // [INPUT_ROWS, ROWS], ROWS a multiple of 4

// Outputs first … first + 3 of a row, where there are such.
fn store4(row: u32, first: u32, sums: vec4<f32>) {
  if (row >= INPUT_ROWS || first >= ROWS) { return; }
  y[(row * ROWS + first) / 4u] = sums + plus4(row, first);
}
