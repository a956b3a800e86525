// The second half of the experts: down(hidden) of each pair (row, expert), and behind them of the shared expert for each
// row. A workgroup takes some rows of one expert for up to a tile of its pairs, whose hidden vectors it stages as digits.
// Grid: [COLUMNS / (TEAMS · ROWS_PER_TEAM), TILES + ⌈ROWS / TILE⌉].

override COLUMNS: u32;        // of y
override SHARED_AT: u32;      // where gate | up of the shared expert begin in `siblings`
override SIBLINGS_STRIDE: u32;

@group(0) @binding(0) var<storage, read> hidden: array<vec4<f32>>;  // [pairs, INNER]
@group(0) @binding(1) var<storage, read> pairs: array<u32>;         // [rows · TOP_K], row · TOP_K + k
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;   // [TILES], (expert, first in pairs, count, 0)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // [pairs, then rows][COLUMNS]
@group(0) @binding(4) var<storage, read> siblings: array<f32>;
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;  // [experts · COLUMNS, INNER]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;
@group(0) @binding(8) var<storage, read> sharedWeight: array<vec4<u32>>;  // [COLUMNS, INNER]
@group(0) @binding(9) var<storage, read> sharedWeightScales: array<u32>;

const EIGHTS = 4u * BLOCKS;  // of a hidden vector

var<workgroup> digits: array<vec4<u32>, TILE * EIGHTS>;      // [row of the tile][eight of a block][block]
var<workgroup> digitScales: array<vec2<f32>, TILE * BLOCKS>;  // [row of the tile][block], scale and sum

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let rows = tokenCount();
  if (rows == 0u) { return; }
  if (group.y < TILES) {
    let tile = tiles[group.y];
    if (tile.z > 0u) { routed(tile, group.x, thread); }
  } else {
    let begin = (group.y - TILES) * TILE;
    if (begin < rows) { forAll(begin, min(begin + TILE, rows), group.x, thread); }
  }
}

fn routed(tile: vec4<u32>, group: u32, thread: u32) {
  let lane = thread % LANES;
  let first = (group * TEAMS + thread / LANES) * ROWS_PER_TEAM;
  let at$r_$i = (tile.x * COLUMNS + min(first + $ru, COLUMNS - 1u)) * BLOCKS + min($iu * LANES + lane, BLOCKS - 1u);
  let w$r_$i = array<vec4<u32>, 1>(weight[at$r_$i]);
  let s$r_$i = blockScale(weightScales[scaleWord(at$r_$i)], at$r_$i);
  let begin = tile.y;
  let end = tile.y + tile.z;
  for (var i = thread; i < rounded(tile.z * EIGHTS); i += WORKGROUP) {
    let at = 2u * (pairs[begin + min(i / EIGHTS, tile.z - 1u)] * EIGHTS + i % EIGHTS);
    stage(i, tile.z, mat2x4<f32>(hidden[at], hidden[at + 1u]));
  }
  workgroupBarrier();
$loop $n - begin
    if (lane == 0u && first + $ru < COLUMNS) { y[pairs[n + $tu] * COLUMNS + first + $ru] = y$r_$t; }
$end
}

fn forAll(begin: u32, end: u32, group: u32, thread: u32) {
  let lane = thread % LANES;
  let first = (group * TEAMS + thread / LANES) * ROWS_PER_TEAM;
  let at$r_$i = min(first + $ru, COLUMNS - 1u) * BLOCKS + min($iu * LANES + lane, BLOCKS - 1u);
  let w$r_$i = array<vec4<u32>, 1>(sharedWeight[at$r_$i]);
  let s$r_$i = blockScale(sharedWeightScales[scaleWord(at$r_$i)], at$r_$i);
  let count = end - begin;
  for (var i = thread; i < rounded(count * EIGHTS); i += WORKGROUP) {
    stage(i, count, sharedHidden(begin + min(i / EIGHTS, count - 1u), i % EIGHTS));
  }
  workgroupBarrier();
$loop $n - begin
    if (lane == 0u && first + $ru < COLUMNS) { y[(ROWS * TOP_K + n + $tu) * COLUMNS + first + $ru] = y$r_$t; }
$end
}

// Whole workgroups: threads make digits with their neighbours.
fn rounded(count: u32) -> u32 { return (count + WORKGROUP - 1u) / WORKGROUP * WORKGROUP; }

fn stage(i: u32, count: u32, x: mat2x4<f32>) {
  let its = toDigits(x);
  if (i >= count * EIGHTS) { return; }
  let row = i / EIGHTS;
  let block = i % EIGHTS / 4u;
  digits[row * EIGHTS + i % 4u * BLOCKS + block] = its.words;
  if (i % 4u == 0u) { digitScales[row * BLOCKS + block] = vec2<f32>(its.scale, its.sum); }
}

// Beyond the last block its scale is 0.
fn inputBlock(row: u32, block: u32) -> Block {
  let at = min(block, BLOCKS - 1u);
  let i = row * EIGHTS + at;
  let scale = select(vec2<f32>(), digitScales[row * BLOCKS + at], block < BLOCKS);
  let eights = array<vec4<u32>, 4>(digits[i], digits[i + BLOCKS], digits[i + 2u * BLOCKS], digits[i + 3u * BLOCKS]);
  return Block(eights, scale.x, scale.y);
}

// Elements 8 · index … of silu(gate) ⊙ up of the shared expert.
fn sharedHidden(row: u32, index: u32) -> mat2x4<f32> {
  var x: mat2x4<f32>;
  for (var c = 0u; c < 8u; c++) {
    let at = SHARED_AT + row * SIBLINGS_STRIDE + 8u * index + c;
    x[c / 4u][c % 4u] = silu(siblings[at]) * siblings[32u * BLOCKS + at];
  }
  return x;
}
