// Sums over the LANES neighbouring threads that share a column of S. LANES is a power of two that divides every subgroup.

fn laneSum(value: vec4<f32>, thread: u32) -> vec4<f32> {
  var sum = value;
  for (var step = 1u; step < LANES; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  return sum;
}
