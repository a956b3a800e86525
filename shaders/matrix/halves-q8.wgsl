// Weights in int8 with one f16 scale for 32, as f16. A byte + 128 below the bits of 1024 is 1152 + q.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

struct Packed { words: array<vec4<u32>, 2>, scale: u32 }

// A group of 32 as it lies in memory.
fn fetch32(group: u32) -> Packed {
  let words = array<vec4<u32>, 2>(weight[2u * group], weight[2u * group + 1u]);
  return Packed(words, weightScales[group / 2u] >> (16u * (group & 1u)));
}

// Elements 8 · quarter … 8 · quarter + 7 of a group.
fn halves8(p: Packed, quarter: u32) -> vec4<u32> {
  let scale = vec2<f16>(bitcast<vec2<f16>>(p.scale).x);
  let half = p.words[quarter / 2u] ^ vec4<u32>(0x80808080u);
  let words = select(half.xy, half.zw, quarter % 2u == 1u);
  return vec4<u32>(
    halfPair(words.x, scale), halfPair(words.x >> 16u, scale), halfPair(words.y, scale), halfPair(words.y >> 16u, scale));
}

fn halfPair(word: u32, scale: vec2<f16>) -> u32 {
  let bytes = (word & 0xffu) | ((word & 0xff00u) << 8u);
  return bitcast<u32>((bitcast<vec2<f16>>(bytes | 0x64006400u) - 1152.0h) * scale);
}
