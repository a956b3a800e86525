// Weights in bf16, as f16: 8 bits of precision fit, and what is too large becomes the largest f16.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;

alias Packed = array<vec4<u32>, 4>;

// 32 elements as they lie in memory.
fn fetch32(group: u32) -> Packed {
  let at = 4u * group;
  return Packed(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
}

// Elements 8 · quarter … 8 · quarter + 7 of a group.
fn halves8(p: Packed, quarter: u32) -> vec4<u32> {
  let words = p[quarter];
  return vec4<u32>(halfPair(words.x), halfPair(words.y), halfPair(words.z), halfPair(words.w));
}

fn halfPair(word: u32) -> u32 {
  let pair = bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
  return pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}
