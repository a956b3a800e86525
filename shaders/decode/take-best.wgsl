// The best of many numbers, again and again, by one subgroup: the numbers' bits, in the order of integers, are in its
// registers, SHARE a lane, 0 for what has been taken.

struct Best { key: u32, index: u32 }

// Takes the largest, of equals the first; element i of a lane is number i · LANES + lane.
fn takeBest(keys: ptr<function, array<u32, SHARE>>, lane: u32) -> Best {
  var best = 0u;
  for (var i = 0u; i < SHARE; i++) { best = max(best, (*keys)[i]); }
  best = subgroupMax(best);
  var first = 0xffffffffu;
  for (var i = 0u; i < SHARE; i++) { first = min(first, select(0xffffffffu, i * LANES + lane, (*keys)[i] == best)); }
  first = subgroupMin(first);
  for (var i = 0u; i < SHARE; i++) { (*keys)[i] = select((*keys)[i], 0u, i * LANES + lane == first); }
  return Best(best, first);
}

// Orders floats as unsigned integers, never 0. What is not a number comes last.
fn keyOf(number: f32) -> u32 {
  let bits = bitcast<u32>(number);
  let isFinite = (bits & 0x7f800000u) != 0x7f800000u;
  let key = select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
  return select(1u << 23u, max(key, 1u << 23u), isFinite);
}

fn valueOf(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u)); }
