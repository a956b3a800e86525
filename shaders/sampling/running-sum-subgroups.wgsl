// Sums over lanes 0 … lane of a workgroup of WORKGROUP threads, through subgroups of any size; runningSums[WORKGROUP - 1]
// is then the whole. Calls must be uniform. Lanes are taken to fill subgroups in order.

var<workgroup> runningSums: array<u32, WORKGROUP>;

fn runningSum(value: u32, lane: u32) -> u32 {
  let width = subgroupAdd(1u);
  var sum = subgroupInclusiveAdd(value);
  workgroupBarrier();
  runningSums[lane] = sum;
  workgroupBarrier();
  // The last lane of each subgroup before this one has the subgroup's sum.
  for (var end = width; end <= lane; end += width) { sum += runningSums[end - 1u]; }
  workgroupBarrier();
  runningSums[lane] = sum;
  workgroupBarrier();
  return sum;
}
