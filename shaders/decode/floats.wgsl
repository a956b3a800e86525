// Eight weights as they lie in memory, as numbers.

fn fromBf16(w: vec4<u32>) -> mat2x4<f32> {
  let even = bitcast<vec4<f32>>(w << vec4<u32>(16u));
  let odd = bitcast<vec4<f32>>(w & vec4<u32>(0xffff0000u));
  return mat2x4<f32>(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}

fn fromF16(w: vec4<u32>) -> mat2x4<f32> {
  return mat2x4<f32>(
    vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)),
    vec4<f32>(unpack2x16float(w.z), unpack2x16float(w.w)),
  );
}

fn fromF32(w: mat2x4<f32>) -> mat2x4<f32> { return w; }
