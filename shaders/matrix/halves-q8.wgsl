// Weights in int8 with one f16 scale for 32, as f16. A byte + 128 below the bits of 1024 is 1152 + q.
@group(0) @binding(6) var<storage, read> weight: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

struct Packed { words: vec2<u32>, scale: u32 }

// Elements 8 · index … 8 · index + 7, as they lie in memory.
fn fetch8(index: u32) -> Packed {
  return Packed(weight[index], weightScales[index / 8u] >> (16u * ((index / 4u) & 1u)));
}

fn halves8(p: Packed) -> vec4<u32> {
  let scale = vec2<f16>(bitcast<vec2<f16>>(p.scale).x);
  let words = p.words ^ vec2<u32>(0x80808080u);
  return vec4<u32>(
    halfPair(words.x, scale), halfPair(words.x >> 16u, scale), halfPair(words.y, scale), halfPair(words.y >> 16u, scale));
}

fn halfPair(word: u32, scale: vec2<f16>) -> u32 {
  let bytes = (word & 0xffu) | ((word & 0xff00u) << 8u);
  return bitcast<u32>((bitcast<vec2<f16>>(bytes | 0x64006400u) - 1152.0h) * scale);
}
