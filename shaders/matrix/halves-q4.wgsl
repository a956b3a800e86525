// Weights in 4 bits with one f16 scale for 32, as f16. A nibble below the bits of 1024 is 1024 + n.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

struct Packed { words: vec4<u32>, scale: u32 }

// A group of 32 as it lies in memory.
fn fetch32(group: u32) -> Packed {
  return Packed(weight[group], weightScales[group / 2u] >> (16u * (group & 1u)));
}

// Elements 8 · quarter … 8 · quarter + 7 of a group.
fn halves8(p: Packed, quarter: u32) -> vec4<u32> {
  let scale = vec2<f16>(bitcast<vec2<f16>>(p.scale).x);
  let word = p.words[quarter];
  return vec4<u32>(
    halfPair(word, scale), halfPair(word >> 4u, scale), halfPair(word >> 8u, scale), halfPair(word >> 12u, scale));
}

fn halfPair(word: u32, scale: vec2<f16>) -> u32 {
  return bitcast<u32>((bitcast<vec2<f16>>((word & 0x000f000fu) | 0x64006400u) - 1032.0h) * scale);
}
