// Moves the batch on to the tokens just drawn: one row per sequence that drew, at the next position. A sequence that drew a stop id
// or its last token gets the position INACTIVE, after which steps leave its state alone. One workgroup for all sequences.

override MAX_TOKENS: u32;
override MAX_SEQUENCES: u32;

@group(0) @binding(0) var<storage, read_write> batchState: array<u32>;
@group(0) @binding(1) var<storage, read_write> results: array<u32>;  // [sequences, RESULT_WORDS]: token, status …
@group(0) @binding(2) var<storage, read_write> params: array<u32>;   // [slots, PARAM_WORDS]

const BATCH_HEADER = 8u;
const INACTIVE = 0xffffffffu;
const WORKGROUP = 64u;

fn isStop(token: u32, base: u32) -> bool {
  for (var i = 0u; i < min(params[base + 10u], PARAM_WORDS - STOPS_AT); i++) {
    if (params[base + STOPS_AT + i] == token) { return true; }
  }
  return false;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  let positions = BATCH_HEADER + MAX_TOKENS;
  let sequences = positions + MAX_TOKENS;
  let starts = sequences + MAX_TOKENS;
  let slots = starts + MAX_SEQUENCES + 1u;
  let count = batchState[2];
  for (var first = 0u; first < MAX_SEQUENCES; first += WORKGROUP) {
    let s = first + lane;
    // A sequence's last row never lies before row s, so rows up to here may be written once all have been read.
    var position = INACTIVE;
    if (s < count) { position = batchState[positions + batchState[starts + s + 1u] - 1u]; }
    storageBarrier();
    workgroupBarrier();
    if (s < count) {
      let base = batchState[slots + s] * PARAM_WORDS;
      var next = INACTIVE;
      if (position != INACTIVE) {
        let token = results[RESULT_WORDS * s];
        params[base + DRAWN] += 1u;
        params[base + LEFT] -= 1u;
        if (isStop(token, base) || params[base + LEFT] == 0u) {
          results[RESULT_WORDS * s + 1u] = LAST;
        } else {
          next = position + 1u;
        }
        batchState[BATCH_HEADER + s] = token;
      }
      batchState[positions + s] = next;
      batchState[sequences + s] = s;
    }
    storageBarrier();
    workgroupBarrier();
    if (s < count) { batchState[starts + s + 1u] = s + 1u; }
  }
  if (lane == 0u) {
    batchState[starts] = 0u;
    batchState[0] = count;
    batchState[1] = count;
  }
}
