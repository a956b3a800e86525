// Weights in 4 bits with one f16 scale for 32 (src/weights/format.ts has the order of nibbles).
@group(0) @binding(6) var<storage, read> weight: array<u32>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

fn weightScale(group: u32) -> f32 { return unpack2x16float(weightScales[group / 2u])[group & 1u]; }

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> {
  let w = vec4<u32>(weight[index]);
  let low = (w >> vec4<u32>(0u, 16u, 4u, 20u)) & vec4<u32>(15u);
  let high = (w >> vec4<u32>(8u, 24u, 12u, 28u)) & vec4<u32>(15u);
  let scale = weightScale(index / 4u);
  return scale * mat2x4<f32>(vec4<f32>(low) - 8.0, vec4<f32>(high) - 8.0);
}
