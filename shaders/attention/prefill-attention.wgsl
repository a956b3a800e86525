// Softmax attention of a tile of rows over a range of keys up to their own, with running maxima and sums. The rows of a tile
// are ROWS / HEADS tokens of one sequence, each with HEADS query heads that share a key-value head. What becomes of the sums
// is another fragment's.
// A thread has four rows: their scores for two keys of a tile at a time, and their sums for every LANES-th pair of
// dimensions. Queries and keys come through workgroup memory in slabs of SLAB dimensions.
// Grid: [SPLITS, query heads / HEADS, tiles of tokens]; the last tiles, which see most keys, go first.
//
// Some loops begin at a value of the thread's instead of 0: then the compilers of software adapters do not unroll them,
// which here costs seconds and gains nothing; those of GPUs see how long the loop is all the same.

override SLAB: u32;   // a multiple of 8 that divides HEAD_DIM
override HEADS: u32;
override GROUP: u32;  // query heads of a key-value head
// Pairs of dimensions that a thread sums; a constant everywhere, so that the sums stay in registers.
override PAIRS: u32 = HEAD_DIM / KEYS;

const WORKGROUP = 256u;
const ROWS = 64u;
const KEYS = 32u;
const LANES = KEYS / 2u;  // threads to four rows
const MAX_PAIRS = 8u;     // HEAD_DIM ≤ 256
const LOWEST = -3.0e38;

@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;  // [T, query heads · HEAD_DIM]

// Rows are one vec4 apart from what fits, so that neighbours fall into different banks.
var<workgroup> querySlab: array<vec4<f32>, ROWS * (SLAB / 4u + 1u)>;
var<workgroup> keySlab: array<vec4<f32>, KEYS * (SLAB / 4u + 1u)>;
var<workgroup> shares: array<vec4<f32>, KEYS * ROWS / 4u>;  // [key][row / 4] 2^(z − m)
var<workgroup> cacheRows: array<u32, KEYS>;

@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let tile = findRowTile(grid.z - 1u - group.z, ROWS / HEADS);
  if (tile.count == 0u) { return; }
  var longest = 0u;
  for (var i = 0u; i < tile.count; i++) { longest = max(longest, contextOf(tile.first + i)); }
  let span = splitSpan(spannedLength(tile.first));
  let begin = group.x * span;
  if (group.x > 0u && begin >= longest) { return; }
  let end = min(begin + span, longest);

  let firstHead = group.y * HEADS;
  let keyHead = firstHead / GROUP;
  let pairs = HEAD_DIM / 2u;
  let stride = SLAB / 4u + 1u;
  let quad = thread / LANES;
  let lane = thread % LANES;
  var context: vec4<u32>;  // of the thread's rows
  for (var j = 0u; j < 4u; j++) {
    let token = (quad * 4u + j) / HEADS;
    if (token < tile.count) { context[j] = contextOf(tile.first + token); }
  }

  var m = vec4<f32>(LOWEST);
  var l = vec4<f32>(0.0);
  // Sums of the even and of the odd dimensions, by pairs; a vector has the four rows.
  var even: array<vec4<f32>, MAX_PAIRS>;
  var odd: array<vec4<f32>, MAX_PAIRS>;

  for (var first = begin; first < end; first += KEYS) {
    let count = min(KEYS, end - first);
    if (thread < count) { cacheRows[thread] = cacheRow(tile.sequence, keyHead, first + thread); }

    // Scores of the four rows for the keys `lane` and `lane` + LANES.
    var z0 = vec4<f32>(0.0);
    var z1 = vec4<f32>(0.0);
    for (var slab = 0u; slab < HEAD_DIM; slab += SLAB) {
      workgroupBarrier();
      stageQueries(tile, firstHead, slab, thread);
      stageKeys(count, slab, thread);
      workgroupBarrier();
      let row = quad * 4u * stride;
      for (var at = row; at < row + SLAB / 4u; at++) {
        let k0 = keySlab[lane * stride + at - row];
        let k1 = keySlab[(lane + LANES) * stride + at - row];
        let q0 = querySlab[at];
        let q1 = querySlab[at + stride];
        let q2 = querySlab[at + 2u * stride];
        let q3 = querySlab[at + 3u * stride];
        z0 += vec4<f32>(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
        z1 += vec4<f32>(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
      }
    }
    let scale = 1.44269504 * inverseSqrt(f32(HEAD_DIM));
    let seen0 = vec4<u32>(first + lane) < context;
    let seen1 = vec4<u32>(first + lane + LANES) < context;
    z0 = select(vec4<f32>(LOWEST), z0 * scale, seen0);
    z1 = select(vec4<f32>(LOWEST), z1 * scale, seen1);

    // The slab of queries is free now: through it the threads of four rows agree on their maxima.
    workgroupBarrier();
    querySlab[thread] = max(z0, z1);
    workgroupBarrier();
    var highest = m;
    for (var i = quad * LANES; i < quad * LANES + LANES; i++) { highest = max(highest, querySlab[i]); }
    let decay = exp2(max(m - highest, vec4<f32>(-126.0)));
    let share0 = select(vec4<f32>(0.0), exp2(max(z0 - highest, vec4<f32>(-126.0))), seen0);
    let share1 = select(vec4<f32>(0.0), exp2(max(z1 - highest, vec4<f32>(-126.0))), seen1);
    shares[lane * (ROWS / 4u) + quad] = share0;
    shares[(lane + LANES) * (ROWS / 4u) + quad] = share1;
    m = highest;
    l = l * decay + share0 + share1;
    workgroupBarrier();

    for (var i = 0u; i < PAIRS; i++) {
      even[i] *= decay;
      odd[i] *= decay;
    }
    for (var t = 0u; t < count; t++) {
      let share = shares[t * (ROWS / 4u) + quad];
      let at = cacheRows[t] * pairs + lane;
      for (var i = 0u; i < PAIRS; i++) {
        let v = values2(at + i * LANES);
        even[i] += share * v.x;
        odd[i] += share * v.y;
      }
    }
    workgroupBarrier();
  }

  querySlab[thread] = l;
  workgroupBarrier();
  l = vec4<f32>(1e-30);  // a row of a sequence that has ended sees nothing
  for (var i = quad * LANES; i < quad * LANES + LANES; i++) { l += querySlab[i]; }
  // Copies, because an array that is indexed by a variable leaves the registers.
  var evens = even;
  var odds = odd;
  for (var row = quad * 4u; row < quad * 4u + 4u; row++) {
    if (row / HEADS >= tile.count) { break; }
    let token = tile.first + row / HEADS;
    let head = firstHead + row % HEADS;
    let part = (token * GROUP * KEY_VALUE_HEADS + head) * SPLITS + group.x;
    if (lane == 0u) { finishRow(part, m[row % 4u], l[row % 4u]); }
    for (var pair = lane; pair < pairs; pair += LANES) {
      finishPair(token, head, part, pair, vec2<f32>(evens[pair / LANES][row % 4u], odds[pair / LANES][row % 4u]), l[row % 4u]);
    }
  }
}

fn stageQueries(tile: RowTile, firstHead: u32, slab: u32, thread: u32) {
  let width = SLAB / 4u;
  for (var i = thread; i < ROWS * width; i += WORKGROUP) {
    let row = i / width;
    var q = vec4<f32>(0.0);
    if (row / HEADS < tile.count) {
      let head = (tile.first + row / HEADS) * GROUP * KEY_VALUE_HEADS + firstHead + row % HEADS;
      q = queries[(head * HEAD_DIM + slab) / 4u + i % width];
    }
    querySlab[row * (width + 1u) + i % width] = q;
  }
}

fn stageKeys(count: u32, slab: u32, thread: u32) {
  let width = SLAB / 8u;
  for (var i = thread; i < KEYS * width; i += WORKGROUP) {
    let key = i / width;
    var k = mat2x4<f32>();
    if (key < count) { k = keys8((cacheRows[key] * HEAD_DIM + slab) / 8u + i % width); }
    let at = key * (SLAB / 4u + 1u) + 2u * (i % width);
    keySlab[at] = k[0];
    keySlab[at + 1u] = k[1];
  }
}
