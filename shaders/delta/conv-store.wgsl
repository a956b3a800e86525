// Keeps the last inputs of every sequence for the tokens that follow. Runs after conv-prefill, which reads the ring.

override WORKGROUP: u32 = 64u;
override CHANNELS: u32;
override RING: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;           // [T, CHANNELS], a view
@group(0) @binding(1) var<storage, read_write> ring: array<f32>;  // [slot][position mod RING][channel]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel = id.x;
  let sequence = id.y;
  if (sequence >= sequenceCount() || channel >= CHANNELS) { return; }
  let end = sequenceStart(sequence + 1u);
  let slot = stateSlot(sequence);
  for (var row = max(sequenceStart(sequence) + RING, end) - RING; row < end; row++) {
    let position = positionAt(row);
    if (position == INACTIVE) { continue; }
    ring[(slot * RING + position % RING) * CHANNELS + channel] = x[X_OFFSET + row * X_STRIDE + channel];
  }
}
