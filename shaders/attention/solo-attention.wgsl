// Softmax attention for devices where workgroups had better be one subgroup: TOKENS rows over a range of the context,
// with running maxima and sums. A row is a query head of a token; HEADS heads that share a key-value head are neighbours.
// Lanes split the dimensions, so that a key is read once for all rows, and sums over lanes make scores of four keys:
//   m = max z,  l = Σ 2^(z − m),  a = Σ 2^(z − m) v        z = (q · k) · log2(e) / sqrt(HEAD_DIM)
// It leaves m, l and a for merge-attention. Grid: [SPLITS, query heads / HEADS, tiles of tokens].
// Lines with $t stand for one line per row.

override WORKGROUP: u32;  // threads of a subgroup, at least 4
override HEADS: u32;
override GROUP: u32;      // query heads of a key-value head

const MAX_CHUNKS = 16u;   // vectors of values that a lane sums: HEAD_DIM ≤ 256 over 4 lanes
const LOWEST = -3.0e38;

@group(0) @binding(0) var<storage, read> queries: array<vec4<f32>>;     // [T, query heads · HEAD_DIM]
@group(0) @binding(1) var<storage, read_write> sums: array<vec4<f32>>;  // [T, query heads, SPLITS, HEAD_DIM]
@group(0) @binding(2) var<storage, read_write> stats: array<vec2<f32>>; // [T, query heads, SPLITS] (m, l)

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = findRowTile(group.z, TOKENS / HEADS);
  if (tile.count == 0u) { return; }
  var longest = 0u;
  for (var i = 0u; i < tile.count; i++) { longest = max(longest, contextOf(tile.first + i)); }
  let span = splitSpan(longest);
  let begin = group.x * span;
  let end = min(begin + span, longest);
  if (begin >= end) { return; }
  let queryHeads = GROUP * KEY_VALUE_HEADS;
  let keyHead = group.y * HEADS / GROUP;
  let width = HEAD_DIM / 8u;  // of a row, in units of 8 values
  let scale = 1.44269504 * inverseSqrt(f32(HEAD_DIM));
  // Of four keys a lane takes one for the exponentials.
  let isMine = vec4<u32>(lane) == vec4<u32>(0u, 1u, 2u, 3u);
  let mine = select(vec4<f32>(), vec4<f32>(1.0), isMine);

  let token$t = min($tu / HEADS, tile.count - 1u) + tile.first;
  let row$t = token$t * queryHeads + group.y * HEADS + $tu % HEADS;
  let context$t = contextOf(token$t);
  var m$t = LOWEST;
  var l$t = 0.0;
  var a$t = array<vec4<f32>, MAX_CHUNKS>();

  for (var first = begin; first < end; first += 4u) {
    let key = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u);
    let last = end - 1u;
    let at = vec4<u32>(
      cacheRow(tile.sequence, keyHead, key.x), cacheRow(tile.sequence, keyHead, min(key.y, last)),
      cacheRow(tile.sequence, keyHead, min(key.z, last)), cacheRow(tile.sequence, keyHead, min(key.w, last)));

    var z$t = vec4<f32>();
    for (var c = lane; c < width; c += WORKGROUP) {
      let k0 = keys8(at.x * width + c);
      let k1 = keys8(at.y * width + c);
      let k2 = keys8(at.z * width + c);
      let k3 = keys8(at.w * width + c);
      let low = mat4x4<f32>(k0[0], k1[0], k2[0], k3[0]);
      let high = mat4x4<f32>(k0[1], k1[1], k2[1], k3[1]);
      z$t += queries[(row$t * width + c) * 2u] * low + queries[(row$t * width + c) * 2u + 1u] * high;
    }

    let seen$t = key < vec4<u32>(min(context$t, end));
    z$t = select(vec4<f32>(LOWEST), scale * subgroupAdd(z$t), seen$t);
    let highest$t = max(m$t, max(max(z$t.x, z$t.y), max(z$t.z, z$t.w)));
    let fade$t = exp2(max(m$t - highest$t, -126.0));
    let share$t = select(0.0, exp2(max(dot(z$t, mine) - highest$t, -126.0)), any(isMine & seen$t));
    m$t = highest$t;
    l$t = l$t * fade$t + share$t;
    let p$t = ofLanes(share$t);

    for (var c = 0u; c < HEAD_DIM / 4u / WORKGROUP; c++) {
      let i = 2u * (c * WORKGROUP + lane);
      let v = mat4x4<f32>(value4(at.x, i), value4(at.y, i), value4(at.z, i), value4(at.w, i));
      a$t[c] = a$t[c] * fade$t + v * p$t;
    }
  }

  l$t = subgroupAdd(l$t);
  for (var c = 0u; c < HEAD_DIM / 4u / WORKGROUP; c++) {
    let i = c * WORKGROUP + lane;
    if ($tu / HEADS < tile.count) { sums[(row$t * SPLITS + group.x) * (HEAD_DIM / 4u) + i] = a$t[c]; }
  }
  if (lane == 0u && $tu / HEADS < tile.count) { stats[row$t * SPLITS + group.x] = vec2<f32>(m$t, l$t); }
}

// What the first four lanes hold.
fn ofLanes(value: f32) -> vec4<f32> {
  return vec4<f32>(
    subgroupBroadcast(value, 0u), subgroupBroadcast(value, 1u),
    subgroupBroadcast(value, 2u), subgroupBroadcast(value, 3u));
}

// Four values of a row from its pair `i` on.
fn value4(row: u32, i: u32) -> vec4<f32> {
  return vec4<f32>(values2(row * (HEAD_DIM / 2u) + i), values2(row * (HEAD_DIM / 2u) + i + 1u));
}
