override PLUS_OFFSET: u32;
override PLUS_STRIDE: u32;

@group(0) @binding(2) var<storage, read> plus: array<f32>;  // [rows, ROWS], a view

fn plusAt(row: u32, column: u32) -> f32 { return plus[PLUS_OFFSET + row * PLUS_STRIDE + column]; }
