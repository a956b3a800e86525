// Softmax attention of one row over one range of cached tokens: a workgroup serves HEADS query heads that share a
// key-value head, so that keys and values are read once. It leaves each head's maximum, sum and weighted values:
//   m = max z,  l = Σ 2^(z − m),  a = Σ 2^(z − m) v        z = (q · k) · log2(e) / sqrt(HEAD_DIM)
// Grid: [SPLITS, query heads / HEADS, rows].
//
// Some loops begin at a value of the thread's, as in prefill-attention.

override HEADS: u32;
override GROUP: u32;  // query heads of a key-value head

const WORKGROUP = 256u;
const MAX_HEADS = 8u;
const LANES = 8u;  // that share a key
const LOWEST = -3.0e38;

@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;          // [T, query heads · HEAD_DIM]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;             // [T, query heads, SPLITS, HEAD_DIM]
@group(0) @binding(2) var<storage, read_write> stats: array<vec2<f32>>;      // [T, query heads, SPLITS] (m, l)

var<workgroup> scaledQueries: array<vec4<f32>, HEADS * HEAD_DIM / 4u>;
var<workgroup> parts: array<f32, HEADS * WORKGROUP>;     // [head][thread] of scores, in the end of sums
var<workgroup> maxima: array<f32, HEADS * LANES>;
var<workgroup> shares: array<f32, (TILE + 1u) * HEADS>;  // [token][head] 2^(z − m); the last has none
var<workgroup> decay: array<f32, HEADS>;                 // 2^(old m − new m)
var<workgroup> cacheRows: array<u32, TILE + 1u>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.z;
  if (row >= tokenCount() || positionAt(row) == INACTIVE) { return; }
  let length = positionAt(row) + 1u;
  let span = splitSpan(length);
  let begin = group.x * span;
  if (begin >= length) { return; }
  let end = min(begin + span, length);
  let sequence = sequenceOf(row);
  let queryHeads = GROUP * KEY_VALUE_HEADS;
  let firstHead = group.y * HEADS;
  let keyHead = firstHead / GROUP;

  let width = HEAD_DIM / 8u;  // of a row, in units of 8 values
  let scale = 1.44269504 * inverseSqrt(f32(HEAD_DIM));
  for (var i = thread; i < HEADS * width * 2u; i += WORKGROUP) {
    scaledQueries[i] = scale * queries[(row * queryHeads + firstHead) * width * 2u + i];
  }
  workgroupBarrier();

  // Scores: LANES threads to a token. Softmax: LANES threads to a head. Values: `pairs` threads to a token.
  let token = thread / LANES;
  let lane = thread % LANES;
  let pairs = HEAD_DIM / 2u;
  let pair = thread % pairs;
  let stream = thread / pairs;
  let streams = WORKGROUP / pairs;
  var m = LOWEST;
  var l = 0.0;
  var a: array<vec2<f32>, MAX_HEADS>;

  for (var first = begin; first < end; first += TILE) {
    let count = min(TILE, end - first);

    // Explicitly zero: what has no initialiser keeps its value through a loop on some compilers.
    var scores = array<f32, MAX_HEADS>();
    // Beyond the last token comes that token again, with no share.
    let cacheRowOfToken = cacheRow(sequence, keyHead, first + min(token, count - 1u));
    if (token < count) {
      for (var c = lane; c < width; c += LANES) {
        let k = keys8(cacheRowOfToken * width + c);
        for (var h = 0u; h < HEADS; h++) {
          let q = (h * width + c) * 2u;
          scores[h] += dot(k[0], scaledQueries[q]) + dot(k[1], scaledQueries[q + 1u]);
        }
      }
    }
    for (var h = 0u; h < HEADS; h++) { parts[h * WORKGROUP + thread] = scores[h]; }
    workgroupBarrier();

    if (lane == 0u) { cacheRows[token] = cacheRowOfToken; }
    if (thread < HEADS) { shares[TILE * HEADS + thread] = 0.0; }
    if (thread == 0u) { cacheRows[TILE] = cacheRowOfToken; }
    var z: array<f32, TILE / LANES>;
    let head = token;  // of a thread that takes part in the softmax
    if (head < HEADS) {
      var highest = LOWEST;
      for (var i = 0u; i < TILE / LANES; i++) {
        let t = i * LANES + lane;
        var score = 0.0;
        let part = (head * TILE + t) * LANES;
        for (var k = part; k < part + LANES; k++) { score += parts[k]; }
        z[i] = select(LOWEST, score, t < count);
        highest = max(highest, z[i]);
      }
      maxima[thread] = highest;
    }
    workgroupBarrier();

    if (head < HEADS) {
      var highest = m;
      for (var i = head * LANES; i < head * LANES + LANES; i++) { highest = max(highest, maxima[i]); }
      let fade = exp2(max(m - highest, -126.0));
      l *= fade;
      for (var i = 0u; i < TILE / LANES; i++) {
        let t = i * LANES + lane;
        let share = select(0.0, exp2(max(z[i] - highest, -126.0)), t < count);
        shares[t * HEADS + head] = share;
        l += share;
      }
      m = highest;
      if (lane == 0u) { decay[head] = fade; }
    }
    workgroupBarrier();

    for (var h = 0u; h < HEADS; h++) { a[h] *= decay[h]; }
    if (stream < streams) {
      // Four loads under way at once.
      for (var t = stream; t < count; t += 4u * streams) {
        let t1 = min(t + streams, TILE);
        let t2 = min(t + 2u * streams, TILE);
        let t3 = min(t + 3u * streams, TILE);
        let v0 = values2(cacheRows[t] * pairs + pair);
        let v1 = values2(cacheRows[t1] * pairs + pair);
        let v2 = values2(cacheRows[t2] * pairs + pair);
        let v3 = values2(cacheRows[t3] * pairs + pair);
        for (var h = 0u; h < HEADS; h++) {
          a[h] += shares[t * HEADS + h] * v0 + shares[t1 * HEADS + h] * v1;
          a[h] += shares[t2 * HEADS + h] * v2 + shares[t3 * HEADS + h] * v3;
        }
      }
    }
  }

  let out = (row * queryHeads + firstHead) * SPLITS + group.x;
  if (token < HEADS) { maxima[thread] = l; }
  for (var half = 0u; half < 2u; half++) {
    workgroupBarrier();
    for (var h = 0u; h < HEADS; h++) { parts[h * WORKGROUP + thread] = select(a[h].x, a[h].y, half == 1u); }
    workgroupBarrier();
    for (var i = thread; i < HEADS * pairs; i += WORKGROUP) {
      let h = i / pairs;
      let part = h * WORKGROUP + i % pairs;
      var sum = 0.0;
      for (var k = part; k < part + streams * pairs; k += pairs) { sum += parts[k]; }
      sums[(out + h * SPLITS) * HEAD_DIM + 2u * (i % pairs) + half] = sum;
    }
  }
  if (token < HEADS && lane == 0u) {
    var sum = 0.0;
    for (var i = thread; i < thread + LANES; i++) { sum += maxima[i]; }
    stats[out + token * SPLITS] = vec2<f32>(m, sum);
  }
}
