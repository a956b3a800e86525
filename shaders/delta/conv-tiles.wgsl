// Causal convolution and SiLU over the tokens of all sequences, for channels in fours. A thread takes up to ROWS tokens of one
// sequence, and asks for four inputs before it uses one. Where a sequence starts, those before it come from the ring, which
// this kernel only reads.

override WORKGROUP: u32 = 64u;
override ROWS: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // [T, CHANNELS], a view
@group(0) @binding(1) var<storage, read> factors: array<f32>;        // [CHANNELS, TAPS]
@group(0) @binding(2) var<storage, read> ring: array<vec4<f32>>;     // [slot][position mod RING][channel]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // [T, CHANNELS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let channel = 4u * id.x;
  let tile = findRowTile(id.y, ROWS);
  if (channel >= CHANNELS || tile.count == 0u) { return; }
  let taps = transpose(mat4x4<f32>(tapsOf(channel), tapsOf(channel + 1u), tapsOf(channel + 2u), tapsOf(channel + 3u)));
  var window = mat3x4<f32>(inputBefore(tile, 3u, channel), inputBefore(tile, 2u, channel), inputBefore(tile, 1u, channel));
  let end = tile.first + tile.count;
  for (var row = tile.first; row < end; row += 4u) {
    let x$i = x[(X_OFFSET + min(row + $iu, end - 1u) * X_STRIDE + channel) / 4u];
    store(row, end, channel, taps[0] * window[0] + taps[1] * window[1] + taps[2] * window[2] + taps[3] * x0);
    store(row + 1u, end, channel, taps[0] * window[1] + taps[1] * window[2] + taps[2] * x0 + taps[3] * x1);
    store(row + 2u, end, channel, taps[0] * window[2] + taps[1] * x0 + taps[2] * x1 + taps[3] * x2);
    store(row + 3u, end, channel, taps[0] * x0 + taps[1] * x1 + taps[2] * x2 + taps[3] * x3);
    window = mat3x4<f32>(x1, x2, x3);
  }
}

fn store(row: u32, end: u32, channel: u32, sums: vec4<f32>) {
  if (row < end) { y[(row * CHANNELS + channel) / 4u] = sums / (1.0 + exp(min(-sums, vec4<f32>(80.0)))); }
}

// The input `back` rows before the tile: from the batch as far as the sequence goes back in it, then from the ring.
fn inputBefore(tile: RowTile, back: u32, channel: u32) -> vec4<f32> {
  if (tile.first >= tile.start + back) { return x[(X_OFFSET + (tile.first - back) * X_STRIDE + channel) / 4u]; }
  let position = positionAt(tile.first);
  if (back >= TAPS || back > position || position == INACTIVE) { return vec4<f32>(); }
  return ring[ringIndex(stateSlot(tile.sequence), position - back, channel) / 4u];
}
