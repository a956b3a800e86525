// One f16 scale to a block of nibbles, and a zero point of 8.

// The word that holds the scale of a block.
fn scaleWord(block: u32) -> u32 { return block / 2u; }

// What block `at` is scaled by, from that word.
fn blockScale(scales: u32, at: u32) -> f32 { return scaleOf(scales, at); }

// Σ weight · x over a block.
fn scaledDot(w: array<vec4<u32>, 1>, scale: f32, x: Block) -> f32 {
  return scale * (x.scale * (nibbleDot(w[0], x) - 8.0 * x.sum));
}
