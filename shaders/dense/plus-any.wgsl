override PLUS_OFFSET: u32;
override PLUS_STRIDE: u32;

@group(0) @binding(2) var<storage, read> plus: array<f32>;  // [INPUT_ROWS, ROWS], any view

// Columns first … first + 3 of a row; those past the last column are not used.
fn plus4(row: u32, first: u32) -> vec4<f32> {
  let start = PLUS_OFFSET + row * PLUS_STRIDE;
  let column = min(first + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(ROWS - 1u));
  return vec4<f32>(plus[start + column.x], plus[start + column.y], plus[start + column.z], plus[start + column.w]);
}
