// Causal convolution and SiLU for one token per sequence: older inputs come from the ring, which takes the new one.
// One thread per channel and sequence, so that nobody else touches what it reads and writes.

override WORKGROUP: u32 = 64u;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;            // [T, CHANNELS], a view
@group(0) @binding(1) var<storage, read> factors: array<f32>;      // [CHANNELS, TAPS]
@group(0) @binding(2) var<storage, read_write> ring: array<f32>;   // [slot][position mod RING][channel]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;      // [T, CHANNELS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel = id.x;
  let row = id.y;
  if (row >= tokenCount() || channel >= CHANNELS) { return; }
  let position = positionAt(row);
  if (position == INACTIVE) { return; }
  let slot = stateSlot(sequenceOf(row));
  let input = x[X_OFFSET + row * X_STRIDE + channel];
  var inputs = vec4<f32>(0.0, 0.0, 0.0, input);
  for (var back = 1u; back < TAPS; back++) {
    if (back <= position) { inputs[3u - back] = ring[ringIndex(slot, position - back, channel)]; }
  }
  ring[ringIndex(slot, position, channel)] = input;
  y[row * CHANNELS + channel] = silu(dot(tapsOf(channel), inputs));
}
