// Digits in the order in which one mask takes elements from a word of eight nibbles: 0 4 1 5, then 2 6 3 7.
fn packDigits(p: vec4<i32>, q: vec4<i32>) -> vec2<u32> {
  return vec2<u32>(pack4xI8(vec4<i32>(p.x, q.x, p.y, q.y)), pack4xI8(vec4<i32>(p.z, q.z, p.w, q.w)));
}

// vec4s of a block.
const BLOCK_WORDS = 1u;

// Σ nibble · integer of x over a block; below 2²⁴, so exact.
fn nibbleDot(w: vec4<u32>, x: Block) -> f32 {
  let even = w & vec4<u32>(0x0f0f0f0fu);
  let odd = (w >> vec4<u32>(4u)) & vec4<u32>(0x0f0f0f0fu);
  let high = dot4I8Packed(even.x, x.eights[0].x) + dot4I8Packed(odd.x, x.eights[0].y)
    + dot4I8Packed(even.y, x.eights[1].x) + dot4I8Packed(odd.y, x.eights[1].y)
    + dot4I8Packed(even.z, x.eights[2].x) + dot4I8Packed(odd.z, x.eights[2].y)
    + dot4I8Packed(even.w, x.eights[3].x) + dot4I8Packed(odd.w, x.eights[3].y);
  let low = dot4I8Packed(even.x, x.eights[0].z) + dot4I8Packed(odd.x, x.eights[0].w)
    + dot4I8Packed(even.y, x.eights[1].z) + dot4I8Packed(odd.y, x.eights[1].w)
    + dot4I8Packed(even.z, x.eights[2].z) + dot4I8Packed(odd.z, x.eights[2].w)
    + dot4I8Packed(even.w, x.eights[3].z) + dot4I8Packed(odd.w, x.eights[3].w);
  return f32(256 * high + low);
}
