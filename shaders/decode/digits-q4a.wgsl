// Two f16, scale and min, to a block of nibbles.

// The word that holds both.
fn scaleWord(block: u32) -> u32 { return block; }

// Σ weight · x over weights' block `at`.
fn blockDot(w: array<vec4<u32>, 1>, scales: u32, at: u32, x: Block) -> f32 {
  let pair = unpack2x16float(scales);
  return x.scale * (pair.x * nibbleDot(w[0], x) + pair.y * x.sum);
}
