// y = x·Wᵀ (+ plus), many rows of x. A workgroup takes 8 rows of x, each of its threads 4 rows of W. Of x a thread loads
// the row of its own lane (modulo 8) alone; subgroup broadcasts hand it to the others, so that for each load there are
// 32 multiplications instead of 4. Subgroups have 8 lanes or more.

override X_OFFSET: u32;
override X_STRIDE: u32;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_invocation_id) subgroupLane: u32,
) {
  let row = group.x * 8u;
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  if (row >= tokenCount()) { return; }
  let first = (group.y * 64u + lane) * 4u;
  let start = X_OFFSET + min(row + subgroupLane % 8u, INPUT_ROWS - 1u) * X_STRIDE;
  var sums0 = vec4<f32>();
  var sums1 = vec4<f32>();
  var sums2 = vec4<f32>();
  var sums3 = vec4<f32>();
  var sums4 = vec4<f32>();
  var sums5 = vec4<f32>();
  var sums6 = vec4<f32>();
  var sums7 = vec4<f32>();
  for (var c = 0u; c < COLUMNS / 8u; c++) {
    let w = weightTile(first, c);
    let low = x4(start + 8u * c);
    let high = x4(start + 8u * c + 4u);
    sums0 += subgroupBroadcast(low, 0u) * w.low + subgroupBroadcast(high, 0u) * w.high;
    sums1 += subgroupBroadcast(low, 1u) * w.low + subgroupBroadcast(high, 1u) * w.high;
    sums2 += subgroupBroadcast(low, 2u) * w.low + subgroupBroadcast(high, 2u) * w.high;
    sums3 += subgroupBroadcast(low, 3u) * w.low + subgroupBroadcast(high, 3u) * w.high;
    sums4 += subgroupBroadcast(low, 4u) * w.low + subgroupBroadcast(high, 4u) * w.high;
    sums5 += subgroupBroadcast(low, 5u) * w.low + subgroupBroadcast(high, 5u) * w.high;
    sums6 += subgroupBroadcast(low, 6u) * w.low + subgroupBroadcast(high, 6u) * w.high;
    sums7 += subgroupBroadcast(low, 7u) * w.low + subgroupBroadcast(high, 7u) * w.high;
  }
  store4(row, first, sums0);
  store4(row + 1u, first, sums1);
  store4(row + 2u, first, sums2);
  store4(row + 3u, first, sums3);
  store4(row + 4u, first, sums4);
  store4(row + 5u, first, sums5);
  store4(row + 6u, first, sums6);
  store4(row + 7u, first, sums7);
}
