// y = x·Wᵀ (+ plus), many rows of x, on GPUs. A workgroup takes QUADS · 4 rows of x and as many of W, STEP columns at a time:
// both go through workgroup memory, W unpacked, with the same column of four rows in one vector. Each thread has the sums
// of 4 · TOKENS rows of x with four of W. SLICES teams of threads take turns of columns, so that few workgroups need not go
// through all of them one after the other; in the end each team adds up one of every four rows. Lines with $t stand for one line per four rows of x, those
// with $i for one per column of four.

override X_OFFSET: u32;
override X_STRIDE: u32;

const STEP = 32u;
const OCTETS = STEP / 8u;
const QUADS = 8u * TOKENS;

const THREADS = 2u * OCTETS * QUADS;  // of a slice

var<workgroup> left: array<vec4<f32>, SLICES * STEP * QUADS>;   // [slice][column][four rows of x]
var<workgroup> right: array<vec4<f32>, SLICES * STEP * QUADS>;  // [slice][column][four rows of W]

@compute @workgroup_size(SLICES * THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let row = group.x * 4u * QUADS;
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  if (row >= tokenCount()) { return; }
  let first = group.y * 4u * QUADS;

  let slice = index / THREADS;
  let thread = index % THREADS;
  let begin = slice * STEP * QUADS;

  // Half of the threads bring x, the others W: eight columns of four rows each.
  let isLeft = thread < OCTETS * QUADS;
  let quad = thread % QUADS;
  let octet = thread / QUADS % OCTETS;
  let at = begin + 8u * octet * QUADS + quad;
  let brought = select(first, row, isLeft) + 4u * quad;

  let mine = thread / QUADS * TOKENS;
  let place = thread % QUADS;
  var sums$t = mat4x4<f32>();  // [row of x]: four rows of W
  // What comes next is on its way while sums are made of what came before.
  for (var c = 0u; c < COLUMNS / 8u + SLICES * OCTETS; c += SLICES * OCTETS) {
    let next = fetch(isLeft, brought, c + slice * OCTETS + octet);
    if (c > 0u) {
      for (var k = 0u; k < STEP; k++) {
        let w = right[begin + k * QUADS + place];
        let x$t = left[begin + k * QUADS + mine + $tu];
        sums$t += mat4x4<f32>(x$t.x * w, x$t.y * w, x$t.z * w, x$t.w * w);
      }
    }
    workgroupBarrier();
    if (isLeft) {
      left[at + $iu * QUADS] = next.low[$i];
      left[at + (4u + $iu) * QUADS] = next.high[$i];
    } else {
      right[at + $iu * QUADS] = next.low[$i];
      right[at + (4u + $iu) * QUADS] = next.high[$i];
    }
    workgroupBarrier();
  }
  let column = first + 4u * place;
  if (SLICES == 1u) {
    store4(row + 4u * (mine + $tu), column, sums$t[0]);
    store4(row + 4u * (mine + $tu) + 1u, column, sums$t[1]);
    store4(row + 4u * (mine + $tu) + 2u, column, sums$t[2]);
    store4(row + 4u * (mine + $tu) + 3u, column, sums$t[3]);
    return;
  }
  // Here TOKENS is 1, and SLICES is 4.
  left[(4u * slice + $iu) * THREADS + thread] = sums0[$i];
  workgroupBarrier();
  var sum = vec4<f32>();
  sum += left[(4u * $iu + slice) * THREADS + thread];
  store4(row + 4u * mine + slice, column, sum);
}

// Chunk c of four rows of x or W, a column in each vector; nothing beyond the last chunk.
fn fetch(isLeft: bool, first: u32, c: u32) -> WeightTile {
  var tile: WeightTile;
  if (c >= COLUMNS / 8u) { return tile; }
  if (isLeft) {
    let a = X_OFFSET + min(first, INPUT_ROWS - 1u) * X_STRIDE + 8u * c;
    let b = X_OFFSET + min(first + 1u, INPUT_ROWS - 1u) * X_STRIDE + 8u * c;
    let d = X_OFFSET + min(first + 2u, INPUT_ROWS - 1u) * X_STRIDE + 8u * c;
    let e = X_OFFSET + min(first + 3u, INPUT_ROWS - 1u) * X_STRIDE + 8u * c;
    tile = WeightTile(mat4x4<f32>(x4(a), x4(b), x4(d), x4(e)), mat4x4<f32>(x4(a + 4u), x4(b + 4u), x4(d + 4u), x4(e + 4u)));
  } else {
    tile = weightTile(first, c);
  }
  return WeightTile(transpose(tile.low), transpose(tile.high));
}
