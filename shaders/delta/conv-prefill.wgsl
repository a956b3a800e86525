// Causal convolution and SiLU over the tokens of all sequences. A thread takes ROWS tokens of one channel and slides a
// window of inputs over them; where a sequence starts, the window comes from the ring, which this kernel only reads.

override WORKGROUP: u32 = 64u;
override ROWS: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;         // [T, CHANNELS], a view
@group(0) @binding(1) var<storage, read> factors: array<f32>;   // [CHANNELS, TAPS]
@group(0) @binding(2) var<storage, read> ring: array<f32>;      // [slot][position mod RING][channel]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;   // [T, CHANNELS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel = id.x;
  if (channel >= CHANNELS) { return; }
  let taps = tapsOf(channel);
  let first = id.y * ROWS;
  let end = min(first + ROWS, tokenCount());
  var window = vec4<f32>();
  for (var row = first; row < end; row++) {
    let sequence = sequenceOf(row);
    let start = sequenceStart(sequence);
    if (row == first || row == start) { window = inputsBefore(row, start, stateSlot(sequence), channel); }
    window = vec4<f32>(window.yzw, x[X_OFFSET + row * X_STRIDE + channel]);
    y[row * CHANNELS + channel] = silu(dot(taps, window));
  }
}

// The inputs before `row`, the latest last: from the batch as far as the sequence goes back in it, then from the ring.
fn inputsBefore(row: u32, start: u32, slot: u32, channel: u32) -> vec4<f32> {
  var inputs = vec4<f32>();
  let position = positionAt(row);
  for (var back = 1u; back < TAPS; back++) {
    if (row >= start + back) {
      inputs[4u - back] = x[X_OFFSET + (row - back) * X_STRIDE + channel];
    } else if (back <= position && position != INACTIVE) {
      inputs[4u - back] = ring[ringIndex(slot, position - back, channel)];
    }
  }
  return inputs;
}
