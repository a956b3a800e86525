// Softmax attention of a tile of rows over all keys up to their own, by products of matrices in f16 with sums in f32. The
// rows of a tile are tokens of one sequence, each with HEADS query heads that share a key-value head.
// Queries and sums stay in registers; keys and values come through workgroup memory, KEYS at a time, the next keys loaded
// while these multiply. A subgroup scores M rows and N keys, and sums all rows for every TEAMS-th stripe of N dimensions.
// In between a thread has eight scores of one row:
//   p = 2^(z − m),  l = Σ p,  o = Σ p v        z = (q · k) · log2(e) / sqrt(HEAD_DIM)
// Rows of a matrix cannot be scaled where they are, so a row keeps its m until scores exceed it by GROWTH. Then, which is
// rare, sums go through memory; until then p may be as large as 2^GROWTH.
// Grid: [query heads / HEADS, tiles of tokens]; the last tiles, which see most keys, go first.
//
// Lines with $k, $b, $s, $p stand for one line for each matrix of queries, band of M rows, stripe of a subgroup, piece of
// keys that a thread loads.

override HEADS: u32;
override GROUP: u32;  // query heads of a key-value head
override QKV_OFFSET: u32;
override QKV_STRIDE: u32;
override PIECES: u32 = HEAD_DIM / 8u;  // vectors of 8 values in a row
override STRIDE: u32 = PIECES + 1u;    // one more, so that neighbouring rows fall into different banks

const BANDS = 4u;
const TEAMS = 2u * BANDS;  // subgroups
const ROWS = BANDS * M;
const KEYS = 2u * N;
const WORKGROUP = TEAMS * LANES;
const PARTS = KEYS / 8u;   // threads of a row
const SCORE_STRIDE = KEYS / 4u + 1u;
const SHARE_STRIDE = PARTS + 1u;
const TILE_ROWS = max(ROWS, 2u * KEYS);
const GROWTH = 8.0;
const LOWEST = -3.0e38;

@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;  // [T, query heads · HEAD_DIM]
@group(0) @binding(1) var<storage, read> qkv: array<f32>;            // [T, per query head q | gate, …], a view
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;  // [T, query heads · HEAD_DIM]
@group(0) @binding(6) var<storage, read> keys: array<vec4<u32>>;     // rows of HEAD_DIM, f16
@group(0) @binding(7) var<storage, read> values: array<vec4<u32>>;

var<workgroup> halves: array<vec4<u32>, TILE_ROWS * STRIDE>;          // queries, then keys and values, f16
var<workgroup> scores: array<vec4<f32>, ROWS * SCORE_STRIDE>;         // and, one for each subgroup, matrices of sums
var<workgroup> shares: array<vec4<u32>, ROWS * SHARE_STRIDE>;         // p, f16
var<workgroup> factors: array<f32, ROWS>;                             // of sums
var<workgroup> hasGrown: u32;

struct Place { tile: RowTile, firstHead: u32, subgroup: u32, lane: u32 }

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let tile = findRowTile(grid.y - 1u - group.y, ROWS / HEADS);
  if (tile.count == 0u) { return; }
  var longest = 0u;
  for (var i = 0u; i < tile.count; i++) { longest = max(longest, contextOf(tile.first + i)); }
  let firstHead = group.x * HEADS;
  let subgroup = thread / LANES;
  let place = Place(tile, firstHead, subgroup, thread % LANES);
  let band = subgroup % BANDS;
  let half = subgroup / BANDS;
  let stripes = HEAD_DIM / N;
  let stripe$s = subgroup + $su * TEAMS;
  // Where there is no such stripe, the last one is summed once more, for nothing.
  let dimension$s = min(stripe$s, stripes - 1u) * N;

  stageQueries(tile, firstHead, thread);
  workgroupBarrier();
  let q$k = subgroupMatrixLoad<Left, row_major>(&halves, band * M * STRIDE + $ku * K / 8u, STRIDE);
  workgroupBarrier();

  // Beyond the last key comes that key again: its shares are 0, and what the cache holds there may be no number.
  let cached = Cached(tile.sequence, firstHead / GROUP, max(longest, 1u) - 1u);
  let key$p = (thread + $pu * WORKGROUP) / PIECES;
  let piece$p = (thread + $pu * WORKGROUP) % PIECES;
  let isBringing$p = key$p < KEYS;
  let at$p = key$p * STRIDE + piece$p;
  var here$p = pieceRow(cached, key$p);
  var next$p = pieceRow(cached, KEYS + key$p);
  if (isBringing$p) { halves[at$p] = keys[here$p + piece$p]; }
  workgroupBarrier();

  let row = thread / PARTS;
  let part = thread % PARTS;
  var context = 0u;
  if (row / HEADS < tile.count) { context = contextOf(tile.first + row / HEADS); }
  var m = LOWEST;
  var l = 0.0;
  var o$b_$s = Result();

  for (var first = 0u; first < longest; first += KEYS) {
    let v$p = values[here$p + piece$p];
    let k$p = keys[next$p + piece$p];
    here$p = next$p;
    next$p = pieceRow(cached, first + 2u * KEYS + key$p);
    if (thread == 0u) { hasGrown = 0u; }

    var s = Result();
    s = subgroupMatrixMultiplyAccumulate(q$k, keyMatrix(half * N, $ku * K), s);
    subgroupMatrixStore<row_major>(&scores, band * M * SCORE_STRIDE + half * N / 4u, s, SCORE_STRIDE);
    workgroupBarrier();

    if (isBringing$p) { halves[KEYS * STRIDE + at$p] = v$p; }
    if (isBringing$p) { halves[at$p] = k$p; }

    let key = first + 8u * part;
    let seen0 = vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(context);
    let seen1 = vec4<u32>(key) + vec4<u32>(4u, 5u, 6u, 7u) < vec4<u32>(context);
    let z0 = select(vec4<f32>(LOWEST), scores[row * SCORE_STRIDE + 2u * part], seen0);
    let z1 = select(vec4<f32>(LOWEST), scores[row * SCORE_STRIDE + 2u * part + 1u], seen1);
    let larger = max(z0, z1);
    var highest = max(max(larger.x, larger.y), max(larger.z, larger.w));
    for (var d = 1u; d < PARTS; d *= 2u) { highest = max(highest, subgroupShuffleXor(highest, d)); }
    var factor = 1.0;
    if (highest > m + GROWTH) {
      // Sums of a row that has seen nothing yet are 0.
      if (m > LOWEST) { hasGrown = 1u; }
      factor = exp2(max(m - highest, -126.0));
      m = highest;
    }
    let p0 = select(vec4<f32>(), exp2(max(z0 - m, vec4<f32>(-126.0))), seen0);
    let p1 = select(vec4<f32>(), exp2(max(z1 - m, vec4<f32>(-126.0))), seen1);
    l = l * factor + dot(p0 + p1, vec4<f32>(1.0));
    shares[row * SHARE_STRIDE + part] = pack8(p0, p1);
    if (part == 0u) { factors[row] = factor; }

    if (workgroupUniformLoad(&hasGrown) != 0u) {
      o$b_$s = scaled(o$b_$s, $bu * M, place);
    }
    for (var i = 0u; i < KEYS; i += K) {
      let share$b = subgroupMatrixLoad<Left, row_major>(&shares, $bu * M * SHARE_STRIDE + i / 8u, SHARE_STRIDE);
      let value$s = subgroupMatrixLoad<Right, row_major>(&halves, (KEYS + i) * STRIDE + dimension$s / 8u, STRIDE);
      o$b_$s = subgroupMatrixMultiplyAccumulate(share$b, value$s, o$b_$s);
    }
  }

  for (var d = 1u; d < PARTS; d *= 2u) { l += subgroupShuffleXor(l, d); }
  // A row of a sequence that has ended sees nothing.
  if (part == 0u) { factors[row] = 1.0 / max(l, 1e-30); }
  workgroupBarrier();
  finish(o$b_$s, $bu * M, stripe$s, place);
}

// How many tokens a row sees: 0 for one of a sequence that has ended.
fn contextOf(row: u32) -> u32 { return select(positionAt(row) + 1u, 0u, positionAt(row) == INACTIVE); }

fn stageQueries(tile: RowTile, firstHead: u32, thread: u32) {
  let scale = 1.44269504 * inverseSqrt(f32(HEAD_DIM));
  for (var i = thread; i < ROWS * PIECES; i += WORKGROUP) {
    let row = i / PIECES;
    var low = vec4<f32>();
    var high = vec4<f32>();
    if (row / HEADS < tile.count) {
      let head = (tile.first + row / HEADS) * GROUP * KEY_VALUE_HEADS + firstHead + row % HEADS;
      // What lies outside f16 becomes its largest value.
      let limit = vec4<f32>(65504.0);
      low = clamp(scale * queries[2u * (head * PIECES + i % PIECES)], -limit, limit);
      high = clamp(scale * queries[2u * (head * PIECES + i % PIECES) + 1u], -limit, limit);
    }
    halves[row * STRIDE + i % PIECES] = pack8(low, high);
  }
}

fn pack8(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
}

struct Cached { sequence: u32, head: u32, last: u32 }

// The first piece of a key's row.
fn pieceRow(cached: Cached, key: u32) -> u32 {
  return cacheRow(cached.sequence, cached.head, min(key, cached.last)) * PIECES;
}

// K dimensions of N keys.
fn keyMatrix(key: u32, dimension: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&halves, key * STRIDE + dimension / 8u, STRIDE);
}

// A subgroup's sums of M rows, times their factors.
fn scaled(sums: Result, firstRow: u32, place: Place) -> Result {
  let base = place.subgroup * M * N / 4u;
  subgroupMatrixStore<row_major>(&scores, base, sums, N / 4u);
  workgroupBarrier();
  for (var e = place.lane; e < M * N / 4u; e += LANES) { scores[base + e] *= factors[firstRow + e / (N / 4u)]; }
  workgroupBarrier();
  let result = subgroupMatrixLoad<Result, row_major>(&scores, base, N / 4u);
  workgroupBarrier();
  return result;
}

// y = o / l · σ(gate) for a subgroup's M rows and N dimensions.
fn finish(sums: Result, firstRow: u32, stripe: u32, place: Place) {
  let base = place.subgroup * M * N / 4u;
  subgroupMatrixStore<row_major>(&scores, base, sums, N / 4u);
  workgroupBarrier();
  for (var e = place.lane; e < M * N / 4u; e += LANES) {
    let row = firstRow + e / (N / 4u);
    let i = stripe * N + 4u * (e % (N / 4u));
    if (row / HEADS < place.tile.count && i < HEAD_DIM) {
      let token = place.tile.first + row / HEADS;
      let head = place.firstHead + row % HEADS;
      let at = QKV_OFFSET + token * QKV_STRIDE + (2u * head + 1u) * HEAD_DIM + i;
      let gate = vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
      let opened = factors[row] * scores[base + e] / (1.0 + exp(clamp(-gate, vec4<f32>(-80.0), vec4<f32>(80.0))));
      y[((token * GROUP * KEY_VALUE_HEADS + head) * HEAD_DIM + i) / 4u] = opened;
    }
  }
  workgroupBarrier();
}
