// The TOP_K largest logits of each row, best first (ties: the lower index), and softmax over them. One workgroup per row,
// each thread with its share of the logits in registers.

override WORKGROUP: u32;
override EXPERTS: u32;
override TOP_K: u32;
override LOGITS_OFFSET: u32;
override LOGITS_STRIDE: u32;
override IDS_AT: u32 = 0u;  // where the ids begin

@group(0) @binding(0) var<storage, read> logits: array<f32>;         // [rows, EXPERTS], a view
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;      // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;  // [rows, TOP_K]

const LOWEST = -3.0e38;
const TAKEN = -3.3e38;
// Beyond every index; indices are exact in f32.
const NONE = 16777216.0;

var<workgroup> shares: array<f32, TOP_K>;

// Where a logit is not a number any expert will do, but a row's experts must differ, so it has to compare like one.
fn comparable(logit: f32) -> f32 {
  let isFinite = (bitcast<u32>(logit) & 0x7f800000u) != 0x7f800000u;
  return select(LOWEST, clamp(logit, LOWEST, -LOWEST), isFinite);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  if (row >= tokenCount()) { return; }
  var left: array<f32, SHARE>;
  for (var i = 0u; i < SHARE; i++) {
    let e = i * WORKGROUP + lane;
    left[i] = select(TAKEN, comparable(logits[LOGITS_OFFSET + row * LOGITS_STRIDE + min(e, EXPERTS - 1u)]), e < EXPERTS);
  }
  var top = 0.0;
  var sum = 0.0;
  for (var k = 0u; k < TOP_K; k++) {
    var best = TAKEN;
    for (var i = 0u; i < SHARE; i++) { best = max(best, left[i]); }
    best = workgroupMax(best, lane);
    var first = NONE;
    for (var i = 0u; i < SHARE; i++) {
      if (left[i] == best) { first = min(first, f32(i * WORKGROUP + lane)); }
    }
    let expert = u32(-workgroupMax(-first, lane));
    for (var i = 0u; i < SHARE; i++) {
      if (i * WORKGROUP + lane == expert) { left[i] = TAKEN; }
    }
    if (k == 0u) { top = best; }
    let share = exp(best - top);
    sum += share;
    if (lane == 0u) {
      ids[IDS_AT + row * TOP_K + k] = expert;
      shares[k] = share;
    }
  }
  workgroupBarrier();
  for (var k = lane; k < TOP_K; k += WORKGROUP) { weights[row * TOP_K + k] = shares[k] / sum; }
}
