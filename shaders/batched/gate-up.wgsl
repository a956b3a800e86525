// The first half of the experts: silu(gate) · up of each pair (row, expert), as digits. A workgroup takes SPAN places of one
// expert. A team of LANES has PLACES gates and ups at a time in registers, for all pairs that chose it. Grid: [INNER / SPAN, ROWS · TOP_K].

override INNER: u32;

@group(0) @binding(2) var<storage, read_write> hiddenDigits: array<vec4<u32>>;  // [pair][eight of a block][block]
@group(0) @binding(3) var<storage, read_write> hiddenScales: array<vec2<f32>>;  // [pair][block], scale and sum
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;              // [EXPERTS · (gate INNER | up INNER), COLUMNS]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

const SPAN = TEAMS * PLACES * TURNS;

var<workgroup> hidden: array<f32, ROWS * SPAN>;  // [pair of those found][place]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let count = findPairs(group.y, thread);
  if (count == 0u) { return; }
  let expert = ids[group.y];
  let lane = thread % LANES;
  let own = thread / LANES * PLACES;
  for (var turn = 0u; turn < TURNS; turn++) {
    let place = turn * TEAMS * PLACES + own;
    let at$r_$i = blockOf(expert, group.x * SPAN + place, $ru, $iu, lane);
    let w$r_$i = array<vec4<u32>, 1>(weight[at$r_$i]);
    let s$r_$i = blockScale(weightScales[scaleWord(at$r_$i)], at$r_$i);
    for (var n = 0u; n < count; n++) {
      let x$i = inputBlock(found[n] / TOP_K, $iu * LANES + lane);
      var sum$r = 0.0;
      sum$r += scaledDot(w$r_$i, s$r_$i, x$i);
      let sum = teamSums($sums, lane);
      let up = subgroupShuffleXor(sum, LANES / 2u);
      if (lane < LANES / 2u && lane % SHARE == 0u) { hidden[n * SPAN + place + lane / SHARE] = silu(sum) * up; }
    }
  }
  workgroupBarrier();
  for (var i = thread; i < (count * (SPAN / 8u) + WORKGROUP - 1u) / WORKGROUP * WORKGROUP; i += WORKGROUP) {
    let n = min(i / (SPAN / 8u), count - 1u);
    let eight = i % (SPAN / 8u);
    keepDigits(i < count * (SPAN / 8u), found[n], group.x * (SPAN / 8u) + eight, n * SPAN + 8u * eight);
  }
}

// The block of a lane in row r of a team's rows: gates from `place` on, then the ups beside them.
fn blockOf(expert: u32, place: u32, r: u32, step: u32, lane: u32) -> u32 {
  let row = (expert * 2u + r / PLACES) * INNER + min(place + r % PLACES, INNER - 1u);
  return row * BLOCKS + min(step * LANES + lane, BLOCKS - 1u);
}

fn keepDigits(isThere: bool, pair: u32, eight: u32, at: u32) {
  let its = toDigits(mat2x4<f32>(
    vec4<f32>(hidden[at], hidden[at + 1u], hidden[at + 2u], hidden[at + 3u]),
    vec4<f32>(hidden[at + 4u], hidden[at + 5u], hidden[at + 6u], hidden[at + 7u])));
  if (!isThere || 8u * eight >= INNER) { return; }
  let block = eight / 4u;
  hiddenDigits[(pair * 4u + eight % 4u) * (INNER / 32u) + block] = its.words;
  if (eight % 4u == 0u) { hiddenScales[pair * (INNER / 32u) + block] = vec2<f32>(its.scale, its.sum); }
}
