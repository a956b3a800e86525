// Sums over the LANES neighbouring threads that share a column of S, through workgroup memory. Calls must be uniform.

var<workgroup> laneScratch: array<vec4<f32>, WORKGROUP>;

fn laneSum(value: vec4<f32>, thread: u32) -> vec4<f32> {
  if (LANES == 1u) { return value; }
  workgroupBarrier();
  laneScratch[thread] = value;
  workgroupBarrier();
  let first = thread - thread % LANES;
  var sum = laneScratch[first];
  for (var i = 1u; i < LANES; i++) { sum += laneScratch[first + i]; }
  return sum;
}
