// Weights in 4 bits with two f16, scale and min, for 32 (src/weights/format.ts has the order of nibbles).
@group(0) @binding(6) var<storage, read> weight: array<u32>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> {
  let w = vec4<u32>(weight[index]);
  let low = (w >> vec4<u32>(0u, 16u, 4u, 20u)) & vec4<u32>(15u);
  let high = (w >> vec4<u32>(8u, 24u, 12u, 28u)) & vec4<u32>(15u);
  let pair = unpack2x16float(weightScales[index / 4u]);
  return mat2x4<f32>(pair.x * vec4<f32>(low) + pair.y, pair.x * vec4<f32>(high) + pair.y);
}
