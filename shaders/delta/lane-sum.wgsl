// Sums over the LANES neighbouring threads that share a column of S, through workgroup memory. Calls must be uniform.
// `turn` alternates between calls: what is read in one turn is not written before the barrier of the next.

var<workgroup> laneScratch: array<mat3x4<f32>, 2u * WORKGROUP>;

fn laneSum(value: mat3x4<f32>, thread: u32, turn: u32) -> mat3x4<f32> {
  let half = turn % 2u * WORKGROUP;
  laneScratch[half + thread] = value;
  workgroupBarrier();
  let first = half + thread - thread % LANES;
  var sum = laneScratch[first];
  for (var i = 1u; i < LANES; i++) { sum += laneScratch[first + i]; }
  return sum;
}
