// The number in [0, 1) for token `index` of a reply: src/reference/random.ts defines it.
fn mixBits(value: u32) -> u32 {
  var x = value;
  x ^= x >> 16u;
  x *= 0x7feb352du;
  x ^= x >> 15u;
  x *= 0x846ca68bu;
  x ^= x >> 16u;
  return x;
}

fn randomAt(seed: u32, index: u32) -> f32 {
  return f32(mixBits(seed + mixBits(index + 0x9e3779b9u)) >> 8u) * 0x1p-24;
}
