// Causal convolution and gated delta rule for one token of each sequence. A subgroup takes FOURS · 4 columns of S of one
// value head. What it needs of the convolution it makes itself or with the others of its workgroup, as `conv` says:
//   a = Sᵀk, b = Sᵀq (of the old S);  d = β (v − e^g a);  o = e^g b + (q·k) d;  S ← e^g S + k dᵀ

override KEY_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;
override RING: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;            // [rows, q | k | v], a view
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(6) var<storage, read_write> ring: array<vec4<f32>>;   // [slot][position mod RING][channel]
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;      // [rows, value head, value dim]
@group(0) @binding(8) var<storage, read> factors: array<vec4<f32>>;      // [channel], four taps each

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  // In a decode step row and sequence are the same.
  let row = group.z;
  let head = group.y;
  // All that decides where to load from comes at once.
  let position = positionAt(row);
  let slot = stateSlot(row);
  let decay = exp(logDecay(row, head));
  let strength = writeStrength(row, head);
  if (row >= tokenCount() || position == INACTIVE) { return; }
  let lane = thread % LANES;
  let first = (group.x * TEAMS + thread / LANES) * FOURS;  // of the columns, in fours
  let values = VALUE_DIM / 4u;
  let keyHead = head / (VALUE_HEADS / KEY_HEADS);
  let keys = KEY_DIM / 4u;

  let key$p = min($pu * LANES + lane, keys - 1u);
  let mask$p = select(0.0, 1.0, $pu * LANES + lane < keys);
  let at$f = stateAt(slot, head, min(first + $fu, values - 1u));
  let old$f_$p = mat4x4<f32>(state[at$f + key$p], state[at$f + key$p + keys], state[at$f + key$p + 2u * keys], state[at$f + key$p + 3u * keys]);
  let keyChannels = KEY_HEADS * keys;
  let valueChannel = 2u * keyChannels + head * values + first;
  let needed = Needed(row, slot, position, head, group.x * TEAMS * FOURS);
  convolveAll(needed, thread);
  let q$p = mask$p * convolvedAt(needed, key$p);
  let k$p = mask$p * convolvedAt(needed, keys + key$p);
  let v$f = convolvedAt(needed, 2u * keys + thread / LANES * FOURS + $fu);
  var products = vec3<f32>();  // k·k, q·q, q·k
  products += vec3<f32>(dot(k$p, k$p), dot(q$p, q$p), dot(q$p, k$p));
  products = subgroupAdd(products);
  let keyScale = inverseSqrt(products.x + 1e-6);
  let queryScale = inverseSqrt((products.y + 1e-6) * f32(KEY_DIM));
  var S$f_$p = old$f_$p;
  if (position == 0u) { S$f_$p = mat4x4<f32>(); }
  var a$f = vec4<f32>();
  var b$f = vec4<f32>();
  a$f += k$p * S$f_$p;
  b$f += q$p * S$f_$p;
  a$f = subgroupAdd(a$f);
  b$f = subgroupAdd(b$f);
  let d$f = strength * (v$f - (decay * keyScale) * a$f);
  let y$f = (decay * queryScale) * b$f + (queryScale * keyScale * products.z) * d$f;
  if (lane == 0u && first + $fu < values) { y[(row * VALUE_HEADS + head) * values + first + $fu] = y$f; }
  let isKept$f_$p = $pu * LANES + lane < keys && first + $fu < values;
  if (isKept$f_$p) { state[at$f + key$p] = decay * S$f_$p[0] + k$p * (keyScale * d$f.x); }
  if (isKept$f_$p) { state[at$f + key$p + keys] = decay * S$f_$p[1] + k$p * (keyScale * d$f.y); }
  if (isKept$f_$p) { state[at$f + key$p + 2u * keys] = decay * S$f_$p[2] + k$p * (keyScale * d$f.z); }
  if (isKept$f_$p) { state[at$f + key$p + 3u * keys] = decay * S$f_$p[3] + k$p * (keyScale * d$f.w); }
  // One thread keeps each input: these columns' own, and a key head's where its first value head begins. Stores come last:
  // no load may pass them.
  if (lane < FOURS && first + lane < values) { keep(row, valueChannel + lane, slot, position); }
  if (first == 0u && head % (VALUE_HEADS / KEY_HEADS) == 0u) {
    for (var i = lane; i < keys; i += LANES) {
      keep(row, keyHead * keys + i, slot, position);
      keep(row, keyChannels + keyHead * keys + i, slot, position);
    }
  }
}

// What a workgroup needs of the convolution: q and k of its head, then values from `first` on, all in fours of channels.
struct Needed { row: u32, slot: u32, position: u32, head: u32, first: u32 }

fn channelOf(n: Needed, index: u32) -> u32 {
  let keys = KEY_DIM / 4u;
  let values = VALUE_DIM / 4u;
  let value = 2u * KEY_HEADS * keys + n.head * values + min(n.first + index - 2u * keys, values - 1u);
  let key = (index / keys * KEY_HEADS + n.head / (VALUE_HEADS / KEY_HEADS)) * keys + index % keys;
  return select(value, key, index < 2u * keys);
}

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
