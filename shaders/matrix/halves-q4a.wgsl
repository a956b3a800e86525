// Weights in 4 bits with two f16, scale and min, for 32, as f16. A nibble below the bits of 1024 is 1024 + n.
@group(0) @binding(6) var<storage, read> weight: array<u32>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

struct Packed { word: u32, scale: u32 }

// Elements 8 · index … 8 · index + 7, as they lie in memory.
fn fetch8(index: u32) -> Packed { return Packed(weight[index], weightScales[index / 4u]); }

fn halves8(p: Packed) -> vec4<u32> {
  let pair = bitcast<vec2<f16>>(p.scale);
  return vec4<u32>(
    halfPair(p.word, pair), halfPair(p.word >> 4u, pair), halfPair(p.word >> 8u, pair), halfPair(p.word >> 12u, pair));
}

fn halfPair(word: u32, pair: vec2<f16>) -> u32 {
  return bitcast<u32>((bitcast<vec2<f16>>((word & 0x000f000fu) | 0x64006400u) - 1024.0h) * pair.x + pair.y);
}
