// Causal convolution and gated delta rule for one token of each sequence. A workgroup takes a value head of a row: it convolves the
// head's channels once, while its part of S is on its way, and each of its subgroups takes FOURS · 4 columns of S.
// Grid: [VALUE_HEADS, rows].

var<workgroup> mixed: array<vec4<f32>, 2u * KEY_FOURS + VALUE_FOURS>;  // q | k | v after the convolution

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  // In a decode step row and sequence are the same.
  let row = group.y;
  let head = group.x;
  let position = positionAt(row);
  let slot = stateSlot(row);
  let decay = exp(logDecay(row, head));
  let strength = writeStrength(row, head);
  if (row >= tokenCount() || position == INACTIVE) { return; }
  let lane = thread % LANES;
  let first = thread / LANES * FOURS;  // of the columns, in fours
  let values = VALUE_FOURS;
  let keys = KEY_FOURS;
  let heads = VALUE_HEADS / KEY_HEADS;

  let key$p = min($pu * LANES + lane, keys - 1u);
  let mask$p = select(0.0, 1.0, $pu * LANES + lane < keys);
  let at$f = stateAt(slot, head, min(first + $fu, values - 1u));
  let old$f_$p = mat4x4<f32>(state[at$f + key$p], state[at$f + key$p + keys], state[at$f + key$p + 2u * keys], state[at$f + key$p + 3u * keys]);
  for (var i = thread; i < 2u * keys + values; i += WORKGROUP) {
    let isValue = i >= 2u * keys;
    let keyChannel = (i / keys * KEY_HEADS + head / heads) * keys + i % keys;
    let channel = select(keyChannel, 2u * KEY_HEADS * keys + head * values + i - 2u * keys, isValue);
    mixed[i] = convolved(row, channel, slot, position);
    // One workgroup keeps each input: a key head's where its first value head is.
    if (isValue || head % heads == 0u) { keep(row, channel, slot, position); }
  }
  begin(row, thread);
  workgroupBarrier();
  let q$p = mask$p * mixed[key$p];
  let k$p = mask$p * mixed[keys + key$p];
  let v$f = mixed[2u * keys + min(first + $fu, values - 1u)];
$delta
  finish(head, thread);
}
