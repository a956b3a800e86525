// The second half of the experts: down(hidden) of each pair (row, expert), and behind them of the shared expert for each
// row. A workgroup takes some rows of one expert for up to a tile of its pairs. Grid: [COLUMNS / (TEAMS · ROWS_PER_TEAM), TILES + ⌈ROWS / TILE⌉].

override COLUMNS: u32;  // of y

@group(0) @binding(1) var<storage, read> pairs: array<u32>;        // [rows · TOP_K], row · TOP_K + k
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;  // [TILES], (expert, first in pairs, count, 0)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;      // [pairs, then rows][COLUMNS]
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;  // [experts · COLUMNS, INNER]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;
@group(0) @binding(8) var<storage, read> sharedWeight: array<vec4<u32>>;  // [COLUMNS, INNER]
@group(0) @binding(9) var<storage, read> sharedWeightScales: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let rows = tokenCount();
  if (rows == 0u) { return; }
  let lane = thread % LANES;
  let first = (group.x * TEAMS + thread / LANES) * ROWS_PER_TEAM;
  if (group.y < TILES) {
    let tile = tiles[group.y];
    if (tile.z > 0u) { routed(tile, first, lane); }
  } else {
    let begin = (group.y - TILES) * TILE;
    if (begin < rows) { forAll(begin, min(begin + TILE, rows), first, lane); }
  }
}

fn routed(tile: vec4<u32>, first: u32, lane: u32) {
  let at$r_$i = (tile.x * COLUMNS + min(first + $ru, COLUMNS - 1u)) * BLOCKS + min($iu * LANES + lane, BLOCKS - 1u);
  let w$r_$i = array<vec4<u32>, 1>(weight[at$r_$i]);
  let s$r_$i = weightScales[scaleWord(at$r_$i)];
  let begin = tile.y;
  let end = tile.y + tile.z;
$loop pairs[$n]
    if (lane == 0u && first + $ru < COLUMNS) { y[pairs[n + $tu] * COLUMNS + first + $ru] = y$r_$t; }
$end
}

fn forAll(begin: u32, end: u32, first: u32, lane: u32) {
  let at$r_$i = min(first + $ru, COLUMNS - 1u) * BLOCKS + min($iu * LANES + lane, BLOCKS - 1u);
  let w$r_$i = array<vec4<u32>, 1>(sharedWeight[at$r_$i]);
  let s$r_$i = sharedWeightScales[scaleWord(at$r_$i)];
$loop (ROWS * TOP_K + $n)
    if (lane == 0u && first + $ru < COLUMNS) { y[(ROWS * TOP_K + n + $tu) * COLUMNS + first + $ru] = y$r_$t; }
$end
}
