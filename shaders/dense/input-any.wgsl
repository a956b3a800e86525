@group(0) @binding(0) var<storage, read> x: array<f32>;  // [rows, COLUMNS], any view

// Four values of x from element `index` on.
fn x4(index: u32) -> vec4<f32> { return vec4<f32>(x[index], x[index + 1u], x[index + 2u], x[index + 3u]); }
