// Weights in f16.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;

// Elements 8 · index … 8 · index + 7.
fn fetch8(index: u32) -> vec4<u32> { return weight[index]; }

fn halves8(words: vec4<u32>) -> vec4<u32> { return words; }
