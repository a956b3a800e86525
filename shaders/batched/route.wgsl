// Routing of all rows, and their pairs (row, expert) put together by expert, so that an expert's weights are read once: the
// TOP_K largest logits of each row (ties: the lower index) with softmax over them, then each expert's pairs in tiles of at
// most TILE. One workgroup. Rows without a sequence choose nobody. The order of an expert's pairs is of no consequence.

override EXPERTS: u32;
override LOGITS_OFFSET: u32;
override LOGITS_STRIDE: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // [rows, EXPERTS], a view
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;          // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> weights: array<f32>;      // [rows, TOP_K]
@group(0) @binding(3) var<storage, read_write> pairs: array<u32>;        // [rows · TOP_K], row · TOP_K + k
@group(0) @binding(4) var<storage, read_write> tiles: array<vec4<u32>>;  // [TILES], (expert, first in pairs, count, 0)

const NOBODY = 0xffffffffu;

var<workgroup> chosen: array<u32, ROWS * TOP_K>;
var<workgroup> shares: array<f32, TEAMS * TOP_K>;
var<workgroup> counts: array<atomic<u32>, EXPERTS>;
var<workgroup> ends: array<atomic<u32>, EXPERTS>;
var<workgroup> pairCount: atomic<u32>;
var<workgroup> tileCount: atomic<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) thread: u32) {
  let lane = thread % LANES;
  let team = thread / LANES;
  let rows = tokenCount();
  for (var e = thread; e < EXPERTS; e += WORKGROUP) {
    atomicStore(&counts[e], 0u);
    atomicStore(&ends[e], 0u);
  }
  if (thread == 0u) {
    atomicStore(&pairCount, 0u);
    atomicStore(&tileCount, 0u);
  }
  workgroupBarrier();
  for (var row = team; row < rows; row += TEAMS) { route(row, team, lane); }
  workgroupBarrier();
  for (var e = thread; e < EXPERTS; e += WORKGROUP) {
    let count = atomicLoad(&counts[e]);
    if (count > 0u) {
      let first = atomicAdd(&pairCount, count);
      atomicStore(&ends[e], first);
      var tile = atomicAdd(&tileCount, (count + TILE - 1u) / TILE);
      for (var done = 0u; done < count; done += TILE) {
        tiles[tile] = vec4<u32>(e, first + done, min(TILE, count - done), 0u);
        tile++;
      }
    }
  }
  workgroupBarrier();
  for (var pair = thread; pair < rows * TOP_K; pair += WORKGROUP) {
    if (chosen[pair] != NOBODY) { pairs[atomicAdd(&ends[chosen[pair]], 1u)] = pair; }
  }
  for (var tile = atomicLoad(&tileCount) + thread; tile < TILES; tile += WORKGROUP) { tiles[tile] = vec4<u32>(); }
}

// One row, by one subgroup.
fn route(row: u32, team: u32, lane: u32) {
  let isActive = positionAt(row) != INACTIVE;
  var keys: array<u32, SHARE>;
  for (var i = 0u; i < SHARE; i++) {
    let e = i * LANES + lane;
    keys[i] = select(0u, keyOf(logits[LOGITS_OFFSET + row * LOGITS_STRIDE + min(e, EXPERTS - 1u)]), e < EXPERTS);
  }
  var top = 0.0;
  var total = 0.0;
  for (var k = 0u; k < TOP_K; k++) {
    let best = takeBest(&keys, lane);
    let value = valueOf(best.key);
    if (k == 0u) { top = value; }
    let share = exp(value - top);
    total += share;
    if (lane == 0u) {
      let expert = min(best.index, EXPERTS - 1u);
      shares[team * TOP_K + k] = share;
      ids[row * TOP_K + k] = expert;
      chosen[row * TOP_K + k] = select(NOBODY, expert, isActive);
      if (isActive) { atomicAdd(&counts[expert], 1u); }
    }
  }
  if (lane == 0u) {
    for (var k = 0u; k < TOP_K; k++) { weights[row * TOP_K + k] = shares[team * TOP_K + k] / total; }
  }
}
