// One f16 scale to a block of nibbles, and a zero point of 8.

// The word that holds the scale of a block.
fn scaleWord(block: u32) -> u32 { return block / 2u; }

// Σ weight · x over weights' block `at`.
fn blockDot(w: array<vec4<u32>, 1>, scales: u32, at: u32, x: Block) -> f32 {
  return scaleOf(scales, at) * (x.scale * (nibbleDot(w[0], x) - 8.0 * x.sum));
}
