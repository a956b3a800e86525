// The second half of the experts: down(hidden) of each pair (row, expert), and behind them of the shared expert for each row.
// A workgroup takes SPAN rows of one expert. A team of LANES has PLACES rows at a time in registers, for all
// hidden vectors. Grid: [COLUMNS / SPAN, ⌈ROWS / SHARED_ROWS⌉ + ROWS · TOP_K].

override COLUMNS: u32;  // of y

@group(0) @binding(3) var<storage, read_write> y: array<f32>;             // [pairs, then rows][COLUMNS]
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;        // [experts · COLUMNS, INNER]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;
@group(0) @binding(8) var<storage, read> sharedWeight: array<vec4<u32>>;  // [COLUMNS, INNER]
@group(0) @binding(9) var<storage, read> sharedWeightScales: array<u32>;

// They take longest, so they begin first.
const SHARED_GROUPS = (ROWS + SHARED_ROWS - 1u) / SHARED_ROWS;
const TEAMS_ACROSS = SUBGROUP / LANES;
const SPAN = TEAMS * PLACES * TURNS;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  if (group.y < SHARED_GROUPS) {
    let begin = group.y * SHARED_ROWS;
    let end = min(begin + SHARED_ROWS, tokenCount());
    if (begin < end) { forAll(0u, begin, end, group.x, thread); }
  } else {
    let pair = group.y - SHARED_GROUPS;
    let count = findPairs(pair, thread);
    if (count > 0u) { routed(ids[pair] * COLUMNS, 0u, count, group.x, thread); }
  }
}

// The block of a lane in row r of a team's rows from `place` on.
fn blockOf(matrix: u32, place: u32, r: u32, step: u32, lane: u32) -> u32 {
  return (matrix + min(place + r * TEAMS_ACROSS, COLUMNS - 1u)) * BLOCKS + min(step * LANES + lane, BLOCKS - 1u);
}

// Hidden vectors begin … end − 1 times the matrix whose rows begin at `matrix`.
fn $name(matrix: u32, begin: u32, end: u32, group: u32, thread: u32) {
  let lane = thread % LANES;
  // Teams side by side take rows in turn, so that a subgroup reads on without gaps.
  let own = thread / SUBGROUP * PLACES * TEAMS_ACROSS + thread / LANES % TEAMS_ACROSS;
  let first = group * SPAN + own;
  for (var turn = 0u; turn < TURNS; turn++) {
    let place = first + turn * TEAMS * PLACES;
    let at$r_$i = blockOf(matrix, place, $ru, $iu, lane);
    let w$r_$i = array<vec4<u32>, 1>($weight[at$r_$i]);
    let s$r_$i = blockScale($weightScales[scaleWord(at$r_$i)], at$r_$i);
    let column = place + lane / SHARE * TEAMS_ACROSS;
    for (var n = begin; n < end; n++) {
      let pair = $pair;
      let x$i = inputBlock(pair, $iu * LANES + lane);
      var sum$r = 0.0;
      sum$r += scaledDot(w$r_$i, s$r_$i, x$i);
      let sum = teamSums($sums, lane);
      if (lane % SHARE == 0u && column < COLUMNS) { y[pair * COLUMNS + column] = sum; }
    }
  }
}
