// Products of few rows with up to three matrices, by products of matrices. A workgroup has N rows of one W; its
// subgroups take turns at their columns, DEPTH matrices at a time, so that all are read at once, and add up in the end.
// Matrices of x are read where they lie. Lines with $i, $k stand for one line for each.

const STEP = DEPTH * K;       // columns that a subgroup takes at a time, a multiple of 32
const PIECES = STEP / 8u;     // vectors of 8 halves
const GROUPS = STEP / 32u;    // groups of weights, 4 such vectors each
const STRIDE = PIECES + 1u;   // one more, so that neighbouring rows fall into different banks
const TILE_ROWS = ROW_MATRICES * M;
const RESULT = M * N / 4u;
const MATRIX = M * K / 8u;    // of x, in vectors of 8 halves

override COLUMNS: u32;  // of x and W, a multiple of SLICES · STEP

@group(0) @binding(0) var<storage, read> halves: array<vec4<u32>>;       // [row / M][column / K][row % M][K / 8]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;            // [rows, rows of all W]
@group(0) @binding(2) var<storage, read> halfScales: array<f32>;         // [rows], what x was divided by

// W's columns of each subgroup, and in the end its results.
var<workgroup> shared4: array<vec4<u32>, max(SLICES * N * STRIDE, SLICES * ROW_MATRICES * RESULT)>;
