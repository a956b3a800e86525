// Sums over lanes 0 … lane of a workgroup of WORKGROUP threads; runningSums[WORKGROUP - 1] is then the whole.
// Calls must be uniform. Hillis and Steele.

var<workgroup> runningSums: array<u32, WORKGROUP>;

fn runningSum(value: u32, lane: u32) -> u32 {
  var sum = value;
  workgroupBarrier();
  runningSums[lane] = sum;
  for (var step = 1u; step < WORKGROUP; step *= 2u) {
    workgroupBarrier();
    var before = 0u;
    if (lane >= step) { before = runningSums[lane - step]; }
    workgroupBarrier();
    sum += before;
    runningSums[lane] = sum;
  }
  workgroupBarrier();
  return sum;
}
