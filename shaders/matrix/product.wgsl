// A tile of x · Wᵀ by products of matrices. BANDS × STRIPES subgroups share STEP columns of x and W in workgroup memory, W
// unpacked to f16; each has a part of the tile in results $i, $j of its own. What comes next is loaded into registers while
// the matrices multiply. Where rows of x and W are, and what becomes of the sums, is the including kernel's.

const STEP = DEPTH * K;       // a multiple of 32
const PIECES = STEP / 8u;     // vectors of 8 halves
const GROUPS = STEP / 32u;    // groups of weights, 4 such vectors each
const STRIDE = PIECES + 1u;   // one more, so that neighbouring rows fall into different banks
const SUBGROUPS = BANDS * STRIPES;
const THREADS = SUBGROUPS * LANES;
const TILE_ROWS = BANDS * ROW_MATRICES * M;
const TILE_COLUMNS = STRIPES * COLUMN_MATRICES * N;

override COLUMNS: u32;  // of x and W, a multiple of STEP

@group(0) @binding(0) var<storage, read> halves: array<vec4<u32>>;  // [rows, COLUMNS / 8]

var<workgroup> left: array<vec4<u32>, TILE_ROWS * STRIDE>;
// Of W, and in the end a result of each subgroup.
var<workgroup> right: array<vec4<u32>, TILE_COLUMNS * STRIDE>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tile = findTile(group);
  if (tile.count == 0u) { return; }
  let subgroup = thread / LANES;
  let band = subgroup / STRIPES;
  let stripe = subgroup % STRIPES;
  let steps = COLUMNS / STEP;

  // What this thread brings: pieces $l of rows of x, groups $r of rows of W.
  let piece = thread % PIECES;
  let xRow$l = (thread + $lu * THREADS) / PIECES;
  let xStart$l = inputRow(tile, min(xRow$l, tile.count - 1u)) * steps * PIECES + piece;
  let wGroup = thread % GROUPS;
  let wRow$r = (thread + $ru * THREADS) / GROUPS;
  let wStart$r = weightRow(tile, wRow$r) * steps * GROUPS + wGroup;

  var x$l = halves[xStart$l];
  var w$r = fetch32(wStart$r);
  var sum$i_$j: Result;
  for (var step = 0u; step < steps; step++) {
    workgroupBarrier();
    if (xRow$l < TILE_ROWS) { left[xRow$l * STRIDE + piece] = x$l; }
    if (wRow$r < TILE_COLUMNS) { bring(w$r, wRow$r * STRIDE + 4u * wGroup); }
    workgroupBarrier();
    let next = min(step + 1u, steps - 1u);
    x$l = halves[xStart$l + next * PIECES];
    w$r = fetch32(wStart$r + next * GROUPS);
    for (var k = 0u; k < DEPTH; k++) {
      let leftAt = band * ROW_MATRICES * M * STRIDE + k * (K / 8u);
      let rightAt = stripe * COLUMN_MATRICES * N * STRIDE + k * (K / 8u);
      let a$i = subgroupMatrixLoad<Left, row_major>(&left, leftAt + $iu * M * STRIDE, STRIDE);
      let b$j = subgroupMatrixLoad<Right, col_major>(&right, rightAt + $ju * N * STRIDE, STRIDE);
      sum$i_$j = subgroupMatrixMultiplyAccumulate(a$i, b$j, sum$i_$j);
    }
  }

  let row = band * ROW_MATRICES * M;
  let column = stripe * COLUMN_MATRICES * N;
  let base = subgroup * M * N / 4u;
  let lane = thread % LANES;
  workgroupBarrier();
  share(sum$i_$j, base); finish(tile, row + $iu * M, column + $ju * N, base, lane); workgroupBarrier();
}

fn bring(p: Packed, at: u32) {
  right[at] = halves8(p, 0u);
  right[at + 1u] = halves8(p, 1u);
  right[at + 2u] = halves8(p, 2u);
  right[at + 3u] = halves8(p, 3u);
}

fn share(sum: Result, base: u32) {
  subgroupMatrixStore<row_major>(&right, base, sum, N / 4u);
  workgroupBarrier();
}

fn result(at: u32) -> vec4<f32> { return bitcast<vec4<f32>>(right[at]); }
