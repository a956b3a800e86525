// Two f16, scale and min, to a block of nibbles.

// The word that holds both.
fn scaleWord(block: u32) -> u32 { return block; }

// Both, of block `at`, from that word.
fn blockScale(scales: u32, at: u32) -> vec2<f32> { return unpack2x16float(scales); }

// Σ weight · x over a block.
fn scaledDot(w: array<vec4<u32>, 1>, pair: vec2<f32>, x: Block) -> f32 {
  return x.scale * (pair.x * nibbleDot(w[0], x) + pair.y * x.sum);
}
