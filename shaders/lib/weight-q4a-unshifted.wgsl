// As weight-q4a, for devices that shift vectors lane by lane: nibbles stay where they are in their word and are converted with
// their power of two, which the scale takes back. Flipping the word's sign takes 8 from the highest nibble, which its min
// gives back.
@group(0) @binding(6) var<storage, read> weight: array<u32>;
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

// Elements 8 · index … 8 · index + 7.
fn weight8(index: u32) -> mat2x4<f32> {
  let w = weight[index] ^ 0x80000000u;
  let low = vec4<i32>(vec4<u32>(w & 0xfu, w & 0xf0000u, w & 0xf0u, w & 0xf00000u));
  let high = vec4<i32>(vec4<u32>(w & 0xf00u, w & 0xf000000u, w & 0xf000u, w & 0xf0000000u));
  let pair = unpack2x16float(weightScales[index / 4u]);
  return mat2x4<f32>(
    vec4<f32>(low) * (pair.x * vec4<f32>(0x1p0f, 0x1p-16f, 0x1p-4f, 0x1p-20f)) + pair.y,
    vec4<f32>(high) * (pair.x * vec4<f32>(0x1p-8f, 0x1p-24f, 0x1p-12f, 0x1p-28f)) +
      (pair.y + pair.x * vec4<f32>(0.0, 0.0, 0.0, 8.0)));
}
