// Two f16 in a word; needs no f16 feature.
@group(0) @binding(6) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> values: array<u32>;

// Elements 8 · index … 8 · index + 7.
fn keys8(index: u32) -> mat2x4<f32> {
  let w = keys[index];
  return mat2x4<f32>(
    vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)),
    vec4<f32>(unpack2x16float(w.z), unpack2x16float(w.w)),
  );
}

// Elements 2 · index and 2 · index + 1.
fn values2(index: u32) -> vec2<f32> { return unpack2x16float(values[index]); }
