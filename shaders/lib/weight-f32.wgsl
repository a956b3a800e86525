// Weights in f32.
@group(0) @binding(6) var<storage, read> weight: array<vec4<f32>>;

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> { return mat2x4<f32>(weight[2u * index], weight[2u * index + 1u]); }
