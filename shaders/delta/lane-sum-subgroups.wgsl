// Sums over the LANES neighbouring threads that share a column of S. LANES is a power of two that divides every subgroup.

fn laneSum(value: mat3x4<f32>, thread: u32, turn: u32) -> mat3x4<f32> {
  var sum = value;
  for (var step = 1u; step < LANES; step *= 2u) {
    sum += mat3x4<f32>(
      subgroupShuffleXor(sum[0], step), subgroupShuffleXor(sum[1], step), subgroupShuffleXor(sum[2], step));
  }
  return sum;
}
