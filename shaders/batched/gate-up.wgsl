// The first half of the experts: silu(gate) · up of each pair (row, expert), left as digits for the second half. A
// workgroup takes 32 places of one expert for up to a tile of its pairs; a team of LANES takes rows of gate and up, which
// stay in registers for all pairs. What follows the tiles does the same for the expert that all rows share, whose products
// are there already. Grid: [INNER / 32, TILES + 1].

override INNER: u32;
override SHARED_AT: u32;      // where gate | up of the shared expert begin in `siblings`
override SIBLINGS_STRIDE: u32;

@group(0) @binding(1) var<storage, read> pairs: array<u32>;        // [rows · TOP_K], row · TOP_K + k
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;  // [TILES], (expert, first in pairs, count, 0)
@group(0) @binding(3) var<storage, read> siblings: array<f32>;
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;  // [EXPERTS · (gate INNER | up INNER), COLUMNS]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;
@group(0) @binding(8) var<storage, read_write> hidden: array<vec4<u32>>;        // [pairs, then rows][eight][block of INNER]
@group(0) @binding(9) var<storage, read_write> hiddenScales: array<vec2<f32>>;  // [pairs, then rows][block of INNER]

const PLACES = 32u;

// [pair of the tile][place]
var<workgroup> places: array<f32, TILE * PLACES>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let rows = tokenCount();
  if (group.y == TILES) {
    for (var i = thread; i < (4u * rows + WORKGROUP - 1u) / WORKGROUP * WORKGROUP; i += WORKGROUP) {
      let row = min(i / 4u, ROWS - 1u);
      keep(i < 4u * rows, ROWS * TOP_K + row, group.x, i % 4u, sharedHidden(row, 4u * group.x + i % 4u));
    }
    return;
  }
  let tile = tiles[group.y];
  if (tile.z == 0u || rows == 0u) { return; }
  let lane = thread % LANES;
  let place = thread / LANES * (ROWS_PER_TEAM / 2u);
  let at$r_$i = rowStart(tile.x, group.x * PLACES + place, $ru) + min($iu * LANES + lane, BLOCKS - 1u);
  let w$r_$i = array<vec4<u32>, 1>(weight[at$r_$i]);
  let s$r_$i = weightScales[scaleWord(at$r_$i)];
  let begin = tile.y;
  let end = tile.y + tile.z;
$loop pairs[$n] / TOP_K
    if (lane == 0u) { places[(n + $tu - begin) * PLACES + place + $gate] = silu(y$gate_$t) * y$up_$t; }
$end
  workgroupBarrier();
  for (var i = thread; i < (4u * tile.z + WORKGROUP - 1u) / WORKGROUP * WORKGROUP; i += WORKGROUP) {
    let n = min(i / 4u, tile.z - 1u);
    var x: mat2x4<f32>;
    for (var c = 0u; c < 8u; c++) { x[c / 4u][c % 4u] = places[n * PLACES + 8u * (i % 4u) + c]; }
    keep(i < 4u * tile.z, pairs[begin + n], group.x, i % 4u, x);
  }
}

// The first block of a team's row r: its gates, then the ups beside them.
fn rowStart(expert: u32, place: u32, r: u32) -> u32 {
  let half = ROWS_PER_TEAM / 2u;
  return (expert * 2u * INNER + r / half * INNER + place + r % half) * BLOCKS;
}

// An eight of a block of a hidden vector, for whole subgroups at once.
fn keep(isThere: bool, row: u32, block: u32, eight: u32, x: mat2x4<f32>) {
  let its = toDigits(x);
  if (!isThere) { return; }
  hidden[(row * 4u + eight) * (INNER / 32u) + block] = its.words;
  if (eight == 0u) { hiddenScales[row * (INNER / 32u) + block] = vec2<f32>(its.scale, its.sum); }
}

// Elements 8 · index … of silu(gate) ⊙ up of the shared expert.
fn sharedHidden(row: u32, index: u32) -> mat2x4<f32> {
  var x: mat2x4<f32>;
  for (var c = 0u; c < 8u; c++) {
    let at = SHARED_AT + row * SIBLINGS_STRIDE + 8u * index + c;
    x[c / 4u][c % 4u] = silu(siblings[at]) * siblings[INNER + at];
  }
  return x;
}
