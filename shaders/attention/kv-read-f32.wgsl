@group(0) @binding(6) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> values: array<vec2<f32>>;

// Elements 8 · index … 8 · index + 7.
fn keys8(index: u32) -> mat2x4<f32> { return mat2x4<f32>(keys[2u * index], keys[2u * index + 1u]); }

// Elements 2 · index and 2 · index + 1.
fn values2(index: u32) -> vec2<f32> { return values[index]; }
