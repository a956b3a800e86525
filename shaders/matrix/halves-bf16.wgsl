// Weights in bf16, as f16: 8 bits of precision fit, and what is too large becomes the largest f16.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;

// Elements 8 · index … 8 · index + 7, as they lie in memory.
fn fetch8(index: u32) -> vec4<u32> { return weight[index]; }

fn halves8(words: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(halfPair(words.x), halfPair(words.y), halfPair(words.z), halfPair(words.w));
}

fn halfPair(word: u32) -> u32 {
  let pair = bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
  return pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
