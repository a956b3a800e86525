// Weights in f16, two in a word; needs no f16 feature.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> {
  let w = weight[index];
  return mat2x4<f32>(
    vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)),
    vec4<f32>(unpack2x16float(w.z), unpack2x16float(w.w)),
  );
}
