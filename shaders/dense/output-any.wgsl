@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [INPUT_ROWS, ROWS]

// Outputs first … first + 3 of a row, as far as there are so many.
fn store4(row: u32, first: u32, sums: vec4<f32>) {
  if (row >= INPUT_ROWS || first >= ROWS) { return; }
  let values = sums + plus4(row, first);
  for (var o = 0u; o < min(4u, ROWS - first); o++) { y[row * ROWS + first + o] = values[o]; }
}
