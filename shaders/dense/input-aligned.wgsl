@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;  // [rows, COLUMNS], a view that starts at multiples of 4

// Four values of x from element `index` on, a multiple of 4.
fn x4(index: u32) -> vec4<f32> { return x[index / 4u]; }
