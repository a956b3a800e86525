// Weights in bf16, two in a word: the upper half of an f32.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> {
  let w = weight[index];
  let even = bitcast<vec4<f32>>(w << vec4<u32>(16u));
  let odd = bitcast<vec4<f32>>(w & vec4<u32>(0xffff0000u));
  return mat2x4<f32>(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}
