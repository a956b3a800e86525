// As weight-q8, for devices that shift vectors lane by lane: bytes stay where they are in their word and are converted with
// their power of two, which the scale takes back. Flipping a sign bit adds 128, but not to the highest byte, which has the
// word's sign. All products and differences are exact.
@group(0) @binding(6) var<storage, read> weight: array<vec2<u32>>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

fn weightScale(group: u32) -> f32 { return unpack2x16float(weightScales[group / 2u])[group & 1u]; }

fn scaledBytes(word: u32, scales: vec4<f32>, bias: vec4<f32>) -> vec4<f32> {
  let raised = word ^ 0x00808080u;
  let bytes = vec4<i32>(vec4<u32>(raised & 0xffu, raised & 0xff00u, raised & 0xff0000u, raised & 0xff000000u));
  return vec4<f32>(bytes) * scales - bias;
}

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> {
  let w = weight[index];
  let scale = weightScale(index / 4u);
  let scales = scale * vec4<f32>(0x1p0f, 0x1p-8f, 0x1p-16f, 0x1p-24f);
  let bias = scale * vec4<f32>(128.0, 128.0, 128.0, 0.0);
  return mat2x4<f32>(scaledBytes(w.x, scales, bias), scaledBytes(w.y, scales, bias));
}
