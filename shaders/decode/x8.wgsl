// A row of the input.
override COLUMNS: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;  // [rows, COLUMNS], a view whose rows start at multiples of 4

// The row that a workgroup works on.
var<private> inputRow = 0u;

// Elements 8 · index …, or the last where there are none.
fn x8(index: u32) -> mat2x4<f32> {
  let i = (X_OFFSET + inputRow * X_STRIDE) / 4u + 2u * min(index, COLUMNS / 8u - 1u);
  return mat2x4<f32>(x[i], x[i + 1u]);
}
