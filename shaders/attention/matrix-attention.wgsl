// Softmax attention of a tile of rows over a range of keys up to their own, by products of matrices in f16 with sums in f32.
// The rows of a tile are tokens of one sequence, each with HEADS query heads that share a key-value head. What becomes of
// the sums is another fragment's.
// Queries and sums stay in registers; keys and values come through workgroup memory, KEYS at a time, the next ones loaded
// while these multiply. A subgroup scores M rows and N keys by a slice of the dimensions, and sums all rows for every
// TEAMS-th stripe of N dimensions. In between a thread has eight scores of one row:
//   p = 2^(z − m),  l = Σ p,  o = Σ p v        z = (q · k) · log2(e) / sqrt(HEAD_DIM)
// Rows of a matrix cannot be scaled where they are, so a row keeps its m until scores exceed it by GROWTH. Then, which is
// rare, sums go through memory; until then p may be as large as 2^GROWTH.
// Grid: [SPLITS, query heads / HEADS, tiles of tokens]; the last tiles, which see most keys, go first.
//
// Lines with $k, $c, $b, $s, $p stand for one line for each matrix of a slice of queries, slice, band of M rows, stripe of a
// subgroup, piece of keys that a thread loads.

override HEADS: u32;
override GROUP: u32;  // query heads of a key-value head
override PIECES: u32 = HEAD_DIM / 8u;  // vectors of 8 values in a row
override STRIDE: u32 = PIECES + 1u;    // one more, so that neighbouring rows fall into different banks
override SLICE: u32 = HEAD_DIM / SLICES;

const SLICES = 4u / BANDS;
const TEAMS = 8u;          // subgroups: BANDS × 2 × SLICES
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
@group(0) @binding(6) var<storage, read> keys: array<vec4<u32>>;     // rows of HEAD_DIM, f16
@group(0) @binding(7) var<storage, read> values: array<vec4<u32>>;

var<workgroup> halves: array<vec4<u32>, TILE_ROWS * STRIDE>;          // queries, then keys and values, f16
var<workgroup> scores: array<vec4<f32>, SLICES * ROWS * SCORE_STRIDE>;  // by slices; and, one for each subgroup, matrices of sums
var<workgroup> shares: array<vec4<u32>, ROWS * SHARE_STRIDE>;         // p, f16
var<workgroup> factors: array<f32, ROWS>;                             // of sums
var<workgroup> hasGrown: u32;

struct Place { tile: RowTile, firstHead: u32, split: u32, subgroup: u32, lane: u32 }

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let tile = findTile(grid.z - 1u - group.z);
  if (tile.count == 0u) { return; }
  var longest = 0u;
  for (var i = 0u; i < tile.count; i++) { longest = max(longest, contextOf(tile.first + i)); }
  let span = splitSpan(spannedLength(tile.first));
  let begin = group.x * span;
  if (group.x > 0u && begin >= longest) { return; }
  let end = min(begin + span, longest);

  let firstHead = group.y * HEADS;
  let subgroup = thread / LANES;
  let place = Place(tile, firstHead, group.x, subgroup, thread % LANES);
  let band = subgroup % BANDS;
  let half = subgroup / BANDS % 2u;
  let slice = subgroup / (2u * BANDS);
  let stripe$s = subgroup + $su * TEAMS;
  // Where there is no such stripe, the last one is summed once more, for nothing.
  let dimension$s = min(stripe$s, HEAD_DIM / N - 1u) * N;

  // Beyond the last key comes that key again: its shares are 0, and what the cache holds there may be no number.
  let cached = Cached(tile.sequence, firstHead / GROUP, max(end, 1u) - 1u);
  let key$p = (thread + $pu * WORKGROUP) / PIECES;
  let piece$p = (thread + $pu * WORKGROUP) % PIECES;
  let isBringing$p = key$p < KEYS;
  let at$p = key$p * STRIDE + piece$p;
  var next$p = pieceRow(cached, begin + key$p);
  var k$p = keys[next$p + piece$p];
  var v$p = values[next$p + piece$p];
  next$p = pieceRow(cached, begin + KEYS + key$p);

  stageQueries(tile, firstHead, thread);
  workgroupBarrier();
  let queriesAt = band * M * STRIDE + slice * (SLICE / 8u);
  let q$k = subgroupMatrixLoad<Left, row_major>(&halves, queriesAt + $ku * K / 8u, STRIDE);
  workgroupBarrier();
  if (isBringing$p) { halves[at$p] = k$p; }
  workgroupBarrier();

  let keysAt = half * N * STRIDE + slice * (SLICE / 8u);
  let scoresAt = (slice * ROWS + band * M) * SCORE_STRIDE + half * N / 4u;
  let sumsAt = subgroup * M * N / 4u;
  let row = thread / PARTS;
  let part = thread % PARTS;
  var context = 0u;
  if (row / HEADS < tile.count) { context = contextOf(tile.first + row / HEADS); }
  var m = LOWEST;
  var l = 0.0;
  var o$b_$s = Result();

  for (var first = begin; first < end; first += KEYS) {
    k$p = keys[next$p + piece$p];
    if (thread == 0u) { hasGrown = 0u; }

    var s = Result();
    s = subgroupMatrixMultiplyAccumulate(q$k, subgroupMatrixLoad<Right, col_major>(&halves, keysAt + $ku * K / 8u, STRIDE), s);
    subgroupMatrixStore<row_major>(&scores, scoresAt, s, SCORE_STRIDE);
    workgroupBarrier();

    if (isBringing$p) { halves[KEYS * STRIDE + at$p] = v$p; }
    if (isBringing$p) { halves[at$p] = k$p; }
    v$p = values[next$p + piece$p];
    next$p = pieceRow(cached, first + 2u * KEYS + key$p);

    if (row < ROWS) {
      var z0 = vec4<f32>();
      var z1 = vec4<f32>();
      z0 += scores[($cu * ROWS + row) * SCORE_STRIDE + 2u * part];
      z1 += scores[($cu * ROWS + row) * SCORE_STRIDE + 2u * part + 1u];
      let key = first + 8u * part;
      let seen0 = vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(context);
      let seen1 = vec4<u32>(key) + vec4<u32>(4u, 5u, 6u, 7u) < vec4<u32>(context);
      z0 = select(vec4<f32>(LOWEST), z0, seen0);
      z1 = select(vec4<f32>(LOWEST), z1, seen1);
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
    }

    if (workgroupUniformLoad(&hasGrown) != 0u) {
      show(o$b_$s, sumsAt); scale($bu * M, place); o$b_$s = subgroupMatrixLoad<Result, row_major>(&scores, sumsAt, N / 4u);
      workgroupBarrier();
    }
    for (var i = 0u; i < KEYS; i += K) {
      let share$b = subgroupMatrixLoad<Left, row_major>(&shares, $bu * M * SHARE_STRIDE + i / 8u, SHARE_STRIDE);
      let value$s = subgroupMatrixLoad<Right, row_major>(&halves, (KEYS + i) * STRIDE + dimension$s / 8u, STRIDE);
      o$b_$s = subgroupMatrixMultiplyAccumulate(share$b, value$s, o$b_$s);
    }
  }

  for (var d = 1u; d < PARTS; d *= 2u) { l += subgroupShuffleXor(l, d); }
  if (part == 0u && row / HEADS < tile.count) { finishRow(place, row, m, l); }
  show(o$b_$s, sumsAt); finish($bu * M, stripe$s, place);
}

fn findTile(index: u32) -> RowTile {
  if (TILE_TOKENS > 1u) { return findRowTile(index, TILE_TOKENS); }
  if (index >= tokenCount()) { return RowTile(0u, 0u, 0u, 0u); }
  return RowTile(sequenceOf(index), index, 1u, index);
}

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

// Puts a subgroup's sums of M rows and N dimensions where its lanes can read them.
fn show(sums: Result, at: u32) {
  workgroupBarrier();
  subgroupMatrixStore<row_major>(&scores, at, sums, N / 4u);
  workgroupBarrier();
}

// Multiplies what is shown of M rows by their factors.
fn scale(firstRow: u32, place: Place) {
  let at = place.subgroup * M * N / 4u;
  for (var e = place.lane; e < M * N / 4u; e += LANES) { scores[at + e] *= factors[firstRow + e / (N / 4u)]; }
  workgroupBarrier();
}

// Hands on what is shown of M rows and N dimensions, by fours.
fn finish(firstRow: u32, stripe: u32, place: Place) {
  let at = place.subgroup * M * N / 4u;
  for (var e = place.lane; e < M * N / 4u; e += LANES) {
    let row = firstRow + e / (N / 4u);
    let i = stripe * N + 4u * (e % (N / 4u));
    if (row / HEADS < place.tile.count && i < HEAD_DIM) { finishSums(place, row, i, scores[at + e]); }
  }
}
