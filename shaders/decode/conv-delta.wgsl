// Causal convolution and gated delta rule for one token of each sequence. A subgroup takes FOURS · 4 columns of S of one value head, and
// convolves the channels that it needs itself, so nobody waits for anybody.

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
  let valueChannel = 2u * keyChannels + head * values;
  let q$p = mask$p * convolved(row, keyHead * keys + key$p, slot, position);
  let k$p = mask$p * convolved(row, keyChannels + keyHead * keys + key$p, slot, position);
  let v$f = convolved(row, valueChannel + min(first + $fu, values - 1u), slot, position);
$delta
  // One thread keeps each input: these columns' own, and a key head's where its first value head begins. Stores come last:
  // no load may pass them.
  if (lane < FOURS && first + lane < values) { keep(row, valueChannel + first + lane, slot, position); }
  if (first == 0u && head % (VALUE_HEADS / KEY_HEADS) == 0u) {
    for (var i = lane; i < keys; i += LANES) {
      keep(row, keyHead * keys + i, slot, position);
      keep(row, keyChannels + keyHead * keys + i, slot, position);
    }
  }
}
