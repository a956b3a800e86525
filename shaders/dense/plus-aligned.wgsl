override PLUS_OFFSET: u32;
override PLUS_STRIDE: u32;

@group(0) @binding(2) var<storage, read> plus: array<vec4<f32>>;  // [INPUT_ROWS, ROWS], a view that starts at multiples of 4

fn plus4(row: u32, first: u32) -> vec4<f32> { return plus[(PLUS_OFFSET + row * PLUS_STRIDE + first) / 4u]; }
