// Digits in the order of the elements.
fn packDigits(p: vec4<i32>, q: vec4<i32>) -> vec2<u32> { return vec2<u32>(pack4xI8(p), pack4xI8(q)); }

// The word that holds the scale of a block.
fn scaleWord(block: u32) -> u32 { return block / 2u; }

// What block `at` is scaled by, from that word.
fn blockScale(scales: u32, at: u32) -> f32 { return scaleOf(scales, at); }

// Σ weight · x over a block.
fn scaledDot(w: array<vec4<u32>, 2>, scale: f32, x: Block) -> f32 {
  let a = w[0];
  let b = w[1];
  let high = dot4I8Packed(a.x, x.eights[0].x) + dot4I8Packed(a.y, x.eights[0].y)
    + dot4I8Packed(a.z, x.eights[1].x) + dot4I8Packed(a.w, x.eights[1].y)
    + dot4I8Packed(b.x, x.eights[2].x) + dot4I8Packed(b.y, x.eights[2].y)
    + dot4I8Packed(b.z, x.eights[3].x) + dot4I8Packed(b.w, x.eights[3].y);
  let low = dot4I8Packed(a.x, x.eights[0].z) + dot4I8Packed(a.y, x.eights[0].w)
    + dot4I8Packed(a.z, x.eights[1].z) + dot4I8Packed(a.w, x.eights[1].w)
    + dot4I8Packed(b.x, x.eights[2].z) + dot4I8Packed(b.y, x.eights[2].w)
    + dot4I8Packed(b.z, x.eights[3].z) + dot4I8Packed(b.w, x.eights[3].w);
  // 128 · 32512 · 32 has 27 bits: the two halves are rounded apart.
  return scale * (x.scale * (256.0 * f32(high) + f32(low)));
}

// vec4s of a block.
const BLOCK_WORDS = 2u;
