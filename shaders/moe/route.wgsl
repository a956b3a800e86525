// The TOP_K largest logits of each row, best first (ties: the lower index), and softmax over them. One workgroup per row.

override WORKGROUP: u32 = 64u;
override EXPERTS: u32;
override TOP_K: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;         // [rows, EXPERTS]
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;      // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;  // [rows, TOP_K]

const LOWEST = -3.0e38;

var<workgroup> left: array<f32, EXPERTS>;
var<workgroup> chosen: array<f32, TOP_K>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  if (row >= tokenCount()) { return; }
  for (var e = lane; e < EXPERTS; e += WORKGROUP) { left[e] = logits[row * EXPERTS + e]; }
  workgroupBarrier();
  for (var k = 0u; k < TOP_K; k++) {
    var best = LOWEST;
    for (var e = lane; e < EXPERTS; e += WORKGROUP) { best = max(best, left[e]); }
    best = workgroupMax(best, lane);
    var at = EXPERTS;
    for (var e = lane; e < EXPERTS; e += WORKGROUP) {
      if (left[e] == best) { at = min(at, e); }
    }
    // The smallest index is the largest of their negatives; indices are exact in f32.
    let index = u32(-workgroupMax(-f32(at), lane));
    if (lane == 0u) {
      ids[row * TOP_K + k] = min(index, EXPERTS - 1u);
      chosen[k] = best;
      left[min(index, EXPERTS - 1u)] = LOWEST;
    }
    workgroupBarrier();
  }
  var sum = 0.0;
  for (var k = 0u; k < TOP_K; k++) { sum += exp(chosen[k] - chosen[0]); }
  for (var k = lane; k < TOP_K; k += WORKGROUP) { weights[row * TOP_K + k] = exp(chosen[k] - chosen[0]) / sum; }
}
