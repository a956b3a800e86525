// A tile of x · Wᵀ by products of matrices. BANDS × STRIPES subgroups share STEP columns of x and W in workgroup memory, W
// unpacked to f16; each has a part of the tile in results $i, $j of its own. What comes next is loaded into registers while
// the matrices multiply. Where rows of x and W are, and what becomes of the sums, is the including kernel's.

const STEP = DEPTH * K;
const PIECES = STEP / 8u;     // vectors of 8 halves
const STRIDE = PIECES + 1u;   // one more, so that neighbouring rows fall into different banks
const SUBGROUPS = BANDS * STRIPES;
const THREADS = SUBGROUPS * LANES;
const TILE_ROWS = BANDS * ROW_MATRICES * M;
const TILE_COLUMNS = STRIPES * COLUMN_MATRICES * N;

override COLUMNS: u32;  // of x and W, a multiple of STEP

@group(0) @binding(0) var<storage, read> halves: array<vec4<u32>>;  // [rows, COLUMNS / 8]

var<workgroup> left: array<vec4<u32>, TILE_ROWS * STRIDE>;
var<workgroup> right: array<vec4<u32>, TILE_COLUMNS * STRIDE>;
var<workgroup> results: array<vec4<f32>, SUBGROUPS * M * N / 4u>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tile = findTile(group);
  if (tile.count == 0u) { return; }
  let subgroup = thread / LANES;
  let band = subgroup / STRIPES;
  let stripe = subgroup % STRIPES;
  let width = COLUMNS / 8u;

  // What this thread brings: pieces $l of rows of x, pieces $r of rows of W.
  let isBringing = thread < TILE_ROWS * PIECES;
  let xRow$l = min((thread + $lu * THREADS) / PIECES, TILE_ROWS - 1u);
  let xStart$l = inputRow(tile, min(xRow$l, tile.count - 1u)) * width + thread % PIECES;
  let wRow$r = (thread + $ru * THREADS) / PIECES;
  let wStart$r = weightRow(tile, wRow$r) * width + thread % PIECES;

  var x$l = halves[xStart$l];
  var w$r = fetch8(wStart$r);
  var sum$i_$j: Result;
  for (var c = 0u; c < width; c += PIECES) {
    workgroupBarrier();
    if (isBringing) { left[xRow$l * STRIDE + thread % PIECES] = x$l; }
    right[wRow$r * STRIDE + thread % PIECES] = halves8(w$r);
    workgroupBarrier();
    let next = min(c + PIECES, width - PIECES);
    x$l = halves[xStart$l + next];
    w$r = fetch8(wStart$r + next);
    for (var k = 0u; k < DEPTH; k++) {
      let at = k * (K / 8u);
      let a$i = subgroupMatrixLoad<Left, row_major>(&left, (band * ROW_MATRICES + $iu) * M * STRIDE + at, STRIDE);
      let b$j = subgroupMatrixLoad<Right, col_major>(&right, (stripe * COLUMN_MATRICES + $ju) * N * STRIDE + at, STRIDE);
      sum$i_$j = subgroupMatrixMultiplyAccumulate(a$i, b$j, sum$i_$j);
    }
  }

  let row = band * ROW_MATRICES * M;
  let column = stripe * COLUMN_MATRICES * N;
  let base = subgroup * M * N / 4u;
  let lane = thread % LANES;
  share(sum$i_$j, base); finish(tile, row + $iu * M, column + $ju * N, base, lane); workgroupBarrier();
}

fn share(sum: Result, base: u32) {
  subgroupMatrixStore<row_major>(&results, base, sum, N / 4u);
  workgroupBarrier();
}
