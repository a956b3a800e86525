// Routing and the first half of the chosen experts for one token: the TOP_K largest logits (ties: the lower index), then
// silu(gate) · up of their rows over the normalised input. Every workgroup finds the experts anew, which takes less time
// than waiting for another dispatch. Grid: [places, TOP_K].

override INNER: u32;
override EXPERTS: u32;
override LOGITS_OFFSET: u32;
override LOGITS_STRIDE: u32;

@group(0) @binding(1) var<storage, read> logits: array<f32>;              // [EXPERTS], a view
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;        // [TOP_K, INNER]
@group(0) @binding(4) var<storage, read_write> routing: array<u32>;       // [TOP_K slots | TOP_K weights, bits of f32]
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;        // [EXPERTS · (gate INNER | up INNER), COLUMNS]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

const STAGING = WORKGROUP - LANES;

var<workgroup> chosen: array<u32, TOP_K>;
var<workgroup> shares: array<f32, TOP_K>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let lane = thread % LANES;
  let team = thread / LANES;
  // The last subgroup looks for experts while the others stage the input.
  if (team < TEAMS - 1u) {
    for (var i = thread; i < ROUNDS * STAGING; i += STAGING) { stageDigits(i, inputOf(fetchInput(i), i, thread), 1.0); }
  } else {
    if (lane == 0u) { squares[team] = 0.0; }
    route(lane, select(group.y + 1u, TOP_K, group.x == 0u));
  }
  workgroupBarrier();

  let expert = slotOf(chosen[group.y]);
  let first = (group.x * TEAMS + team) * PAIRS;
  var w: array<array<vec4<u32>, 1>, 2u * PAIRS * STEPS>;
  var s: array<u32, 2u * PAIRS * STEPS>;
  for (var r = 0u; r < 2u * PAIRS; r++) {
    let start = rowStart(expert, first, r);
    for (var i = 0u; i < STEPS; i++) {
      let block = start + min(i * LANES + lane, BLOCKS - 1u);
      w[r * STEPS + i][0] = weight[block];
      s[r * STEPS + i] = weightScales[scaleWord(block)];
    }
  }
  var sums: array<f32, 2u * PAIRS>;
  for (var i = 0u; i < STEPS; i++) {
    let block = i * LANES + lane;
    let x = stagedBlock(min(block, BLOCKS - 1u));
    for (var r = 0u; r < 2u * PAIRS; r++) {
      let index = rowStart(expert, first, r) + min(block, BLOCKS - 1u);
      let part = blockDot(w[r * STEPS + i], s[r * STEPS + i], index, x);
      sums[r] += select(0.0, part, block < BLOCKS);
    }
  }
  let scale = inputScale();
  for (var r = 0u; r < PAIRS; r++) {
    let gate = scale * subgroupAdd(sums[2u * r]);
    let up = scale * subgroupAdd(sums[2u * r + 1u]);
    if (lane == 0u && first + r < INNER) {
      hidden[group.y * INNER + first + r] = gate / (1.0 + exp(clamp(-gate, -80.0, 80.0))) * up;
    }
  }
  if (group.x == 0u && group.y == 0u && thread < TOP_K) {
    var total = 0.0;
    for (var k = 0u; k < TOP_K; k++) { total += shares[k]; }
    routing[thread] = slotOf(chosen[thread]);
    routing[TOP_K + thread] = bitcast<u32>(shares[thread] / total);
    if (thread == 0u) { noteExperts(); }
  }
}

// The first block of a row: even r are gates, odd ones the ups beside them.
fn rowStart(expert: u32, first: u32, r: u32) -> u32 {
  return (expert * 2u * INNER + (r % 2u) * INNER + min(first + r / 2u, INNER - 1u)) * BLOCKS;
}

// The best `count` experts, by one subgroup.
fn route(lane: u32, count: u32) {
  var keys: array<u32, SHARE>;
  for (var i = 0u; i < SHARE; i++) {
    let e = i * LANES + lane;
    keys[i] = select(0u, keyOf(logits[LOGITS_OFFSET + min(e, EXPERTS - 1u)]), e < EXPERTS);
  }
  var top = 0.0;
  for (var k = 0u; k < count; k++) {
    let best = takeBest(&keys, lane);
    let value = valueOf(best.key);
    if (k == 0u) { top = value; }
    if (lane == 0u) {
      chosen[k] = min(best.index, EXPERTS - 1u);
      shares[k] = exp(value - top);
    }
  }
}
