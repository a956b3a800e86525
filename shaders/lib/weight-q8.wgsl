// Weights in int8 with one f16 scale for 32 (src/weights/format.ts).
@group(0) @binding(6) var<storage, read> weight: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

fn weightScale(group: u32) -> f32 { return unpack2x16float(weightScales[group / 2u])[group & 1u]; }

fn signedBytes(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(vec4<u32>(word << 24u, word << 16u, word << 8u, word)) >> vec4<u32>(24u));
}

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> {
  let w = weight[index];
  return weightScale(index / 4u) * mat2x4<f32>(signedBytes(w.x), signedBytes(w.y));
}
