// A row of the input that a sparse layer leaves, and that is kept on the way.
override COLUMNS: u32;

@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;  // [rows, COLUMNS]

// The row that a workgroup works on.
var<private> inputRow = 0u;

// Elements 8 · index …, or the last where there are none.
fn x8(index: u32) -> mat2x4<f32> {
  let i = 2u * min(index, COLUMNS / 8u - 1u);
  let x = mat2x4<f32>(mixed(inputRow, i), mixed(inputRow, i + 1u));
  if (index < COLUMNS / 8u) {
    y[inputRow * (COLUMNS / 4u) + i] = x[0];
    y[inputRow * (COLUMNS / 4u) + i + 1u] = x[1];
  }
  return x;
}
