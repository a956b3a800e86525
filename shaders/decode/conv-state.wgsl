// What convolution and delta rule of one token of each sequence read and write.

override KEY_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;
override RING: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;            // [rows, q | k | v], a view
@group(0) @binding(2) var<storage, read> negA: array<f32>;               // [VALUE_HEADS]
@group(0) @binding(4) var<storage, read> dtBias: array<f32>;             // [VALUE_HEADS]
@group(0) @binding(8) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(9) var<storage, read_write> ring: array<vec4<f32>>;   // [slot][position mod RING][channel]
@group(0) @binding(10) var<storage, read> factors: array<vec4<f32>>;     // [channel], four taps each

fn stateAt(slot: u32, head: u32, four: u32) -> u32 {
  return ((slot * VALUE_HEADS + head) * VALUE_DIM + 4u * four) * (KEY_DIM / 4u);
}

fn ringAt(slot: u32, position: u32, channel: u32) -> u32 {
  return (slot * RING + position % RING) * ((2u * KEY_HEADS * KEY_DIM + VALUE_HEADS * VALUE_DIM) / 4u) + channel;
}

fn newest(row: u32, channel: u32) -> vec4<f32> { return x[(X_OFFSET + row * X_STRIDE) / 4u + channel]; }

fn keep(row: u32, channel: u32, slot: u32, position: u32) { ring[ringAt(slot, position, channel)] = newest(row, channel); }

// Four channels after the convolution and SiLU.
fn convolved(row: u32, channel: u32, slot: u32, position: u32) -> vec4<f32> {
  let before1 = select(vec4<f32>(), ring[ringAt(slot, position + RING - 1u, channel)], position >= 1u);
  let before2 = select(vec4<f32>(), ring[ringAt(slot, position + RING - 2u, channel)], position >= 2u);
  let before3 = select(vec4<f32>(), ring[ringAt(slot, position + RING - 3u, channel)], position >= 3u);
  let i = 4u * channel;
  let taps = transpose(mat4x4<f32>(factors[i], factors[i + 1u], factors[i + 2u], factors[i + 3u]));
  let sum = taps[0] * before3 + taps[1] * before2 + taps[2] * before1 + taps[3] * newest(row, channel);
  return sum / (1.0 + exp(min(-sum, vec4<f32>(80.0))));
}
