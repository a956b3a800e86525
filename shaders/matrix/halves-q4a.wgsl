// Weights in 4 bits with two f16, scale and min, for 32, as f16. A nibble below the bits of 1024 is 1024 + n.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

struct Packed { words: vec4<u32>, pair: u32 }

// A group of 32 as it lies in memory.
fn fetch32(group: u32) -> Packed { return Packed(weight[group], weightScales[group]); }

// Elements 8 · quarter … 8 · quarter + 7 of a group.
fn halves8(p: Packed, quarter: u32) -> vec4<u32> {
  let pair = bitcast<vec2<f16>>(p.pair);
  let word = p.words[quarter];
  return vec4<u32>(
    halfPair(word, pair), halfPair(word >> 4u, pair), halfPair(word >> 8u, pair), halfPair(word >> 12u, pair));
}

fn halfPair(word: u32, pair: vec2<f16>) -> u32 {
  return bitcast<u32>((bitcast<vec2<f16>>((word & 0x000f000fu) | 0x64006400u) - 1024.0h) * pair.x + pair.y);
}
