// Teams of 16 threads that work on a row together, and sums over a team through workgroup memory.
// Every thread of the team gets the sum. Calls must be uniform in the workgroup.

const TEAM = 16u;

var<workgroup> teamScratch: array<f32, WORKGROUP>;

fn teamSize() -> u32 { return TEAM; }

fn teamSum(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  teamScratch[lane] = value;
  workgroupBarrier();
  let first = lane - lane % TEAM;
  var sum = teamScratch[first];
  for (var i = 1u; i < TEAM; i++) { sum += teamScratch[first + i]; }
  return sum;
}
