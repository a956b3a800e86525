// A product of expert rows for pairs (token, slot) grouped by expert. A workgroup multiplies up to ROWS pairs of one expert
// with 64 rows of its weights, 32 columns at a time: both are put into workgroup memory, weights unpacked, and each
// thread keeps ROWS / 16 × 4 sums, of pairs 16 and weight rows 16 apart. What is multiplied, and what becomes of the sums,
// is in grouped-gate-up.wgsl and grouped-down.wgsl.

const WORKGROUP = 256u;
const MINE = ROWS / 16u;
const STEP = 32u;

override COLUMNS: u32;
override INNER: u32;
override TOP_K: u32;

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> pairs: array<u32>;        // [rows · TOP_K], by expert
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;  // (expert, first in pairs, count, 0)
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

var<workgroup> inputTile: array<Value4, ROWS * 8u>;
var<workgroup> weightTile: array<Value4, 64u * 8u>;

// Where columns 4 · quad … 4 · quad + 3 of a tile's row lie: shuffled so that neighbouring rows use different banks.
fn place(row: u32, quad: u32) -> u32 { return row * 8u + (quad ^ (row & 7u)); }

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  let count = tile.z;
  if (count == 0u) { return; }
  let chunks = inputColumns() / 8u;

  // What this thread brings into workgroup memory: 8 columns of one input row and of one weight row.
  let row = lane / 4u;
  let chunk = lane % 4u;
  let inputAt = inputRow(pairs[tile.y + min(row, count - 1u)]) * chunks + chunk;
  let weightAt = weightRow(tile.x, group.y, row) * chunks + chunk;

  let column = lane % 16u;
  let first = lane / 16u;
  var sums: array<f32, MINE * 4u>;
  for (var c = 0u; c < chunks; c += STEP / 8u) {
    if (row < ROWS) {
      inputTile[place(row, 2u * chunk)] = Value4(input[2u * (inputAt + c)]);
      inputTile[place(row, 2u * chunk + 1u)] = Value4(input[2u * (inputAt + c) + 1u]);
    }
    let w = weight8(weightAt + c);
    weightTile[place(row, 2u * chunk)] = Value4(w[0]);
    weightTile[place(row, 2u * chunk + 1u)] = Value4(w[1]);
    workgroupBarrier();
    for (var quad = 0u; quad < STEP / 4u; quad++) {
      var a: array<vec4<f32>, MINE>;
      for (var m = 0u; m < MINE; m++) { a[m] = vec4<f32>(inputTile[place(first + 16u * m, quad)]); }
      for (var n = 0u; n < 4u; n++) {
        let b = vec4<f32>(weightTile[place(column + 16u * n, quad)]);
        for (var m = 0u; m < MINE; m++) { sums[4u * m + n] += dot(a[m], b); }
      }
    }
    workgroupBarrier();
  }

  for (var m = 0u; m < MINE; m++) {
    let r = first + 16u * m;
    if (r < count) {
      store(pairs[tile.y + r], group.y, column, vec4(sums[4u * m], sums[4u * m + 1u], sums[4u * m + 2u], sums[4u * m + 3u]));
    }
  }
}
