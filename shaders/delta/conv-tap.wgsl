// What the kernels of the causal convolution share: raw inputs kept in a ring over positions, and the formula.

override CHANNELS: u32;
override TAPS: u32;
override RING: u32;

fn ringIndex(slot: u32, position: u32, channel: u32) -> u32 {
  return (slot * RING + position % RING) * CHANNELS + channel;
}

// The factors of inputs t − 3 … t: those before the first tap are 0.
fn tapsOf(channel: u32) -> vec4<f32> {
  var taps = vec4<f32>();
  for (var i = 0u; i < TAPS; i++) { taps[4u - TAPS + i] = factors[channel * TAPS + i]; }
  return taps;
}

fn silu(x: f32) -> f32 { return x / (1.0 + exp(min(-x, 80.0))); }
