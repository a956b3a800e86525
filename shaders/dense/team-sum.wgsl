// The sum over a team of LANES neighbouring threads, for the first of them. Calls must be uniform; `slot` is below TOKENS
// and different in each.

override WORKGROUP: u32;
override LANES: u32;

var<workgroup> partial: array<vec4<f32>, WORKGROUP * TOKENS>;

fn teamSum(value: vec4<f32>, slot: u32, lane: u32) -> vec4<f32> {
  let start = slot * WORKGROUP + lane;
  partial[start] = value;
  workgroupBarrier();
  var sum = value;
  if (lane % LANES != 0u) { return sum; }
  for (var i = 1u; i < LANES; i++) { sum += partial[start + i]; }
  return sum;
}
