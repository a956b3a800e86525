// The second half of the experts for one token, and what follows it in the layer:
//   y = residual + Σ weight · down(hidden) + σ(gate) · sharedDown(silu(sharedGate) ⊙ sharedUp)
// The experts' hidden vectors and the shared one's lie one after the other, as if a row of W were that long; the weights
// of the experts are part of the hidden blocks' scales. A subgroup takes ROWS_PER_TEAM rows.

override COLUMNS: u32;        // of y
override INNER: u32;
override SHARED_INNER: u32;
override SHARED_AT: u32;      // where gate | up of the shared expert begin in `siblings`, and its own gate
override GATE_AT: u32;

@group(0) @binding(0) var<storage, read> hidden: array<vec4<f32>>;    // [TOP_K, INNER]
@group(0) @binding(1) var<storage, read> routing: array<u32>;         // [TOP_K ids | TOP_K weights, bits of f32]
@group(0) @binding(2) var<storage, read> residual: array<f32>;        // [COLUMNS]
@group(0) @binding(3) var<storage, read> siblings: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;         // [COLUMNS]
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;    // [experts · COLUMNS, INNER]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;
@group(0) @binding(8) var<storage, read> sharedWeight: array<vec4<u32>>;    // [COLUMNS, SHARED_INNER]
@group(0) @binding(9) var<storage, read> sharedWeightScales: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let lane = thread % LANES;
  let first = (group.x * TEAMS + thread / LANES) * ROWS_PER_TEAM;
  let expertBlocks = TOP_K * (INNER / 32u);
  var w: array<array<vec4<u32>, 1>, ROWS_PER_TEAM * STEPS>;
  var s: array<f32, ROWS_PER_TEAM * STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let block = i * LANES + lane;
    if (block < expertBlocks) {
      let expert = routing[block / (INNER / 32u)];
      for (var r = 0u; r < ROWS_PER_TEAM; r++) {
        let at = (expert * COLUMNS + min(first + r, COLUMNS - 1u)) * (INNER / 32u) + block % (INNER / 32u);
        w[r * STEPS + i][0] = weight[at];
        s[r * STEPS + i] = unpack2x16float(weightScales[at / 2u])[at & 1u];
      }
    } else if (block < BLOCKS) {
      for (var r = 0u; r < ROWS_PER_TEAM; r++) {
        let at = min(first + r, COLUMNS - 1u) * (SHARED_INNER / 32u) + block - expertBlocks;
        w[r * STEPS + i][0] = sharedWeight[at];
        s[r * STEPS + i] = unpack2x16float(sharedWeightScales[at / 2u])[at & 1u];
      }
    }
  }
  for (var i = thread; i < ROUNDS * WORKGROUP; i += WORKGROUP) {
    let slot = min(i / (INNER / 8u), TOP_K);
    if (slot < TOP_K) { stageDigits(i, mat2x4<f32>(hidden[2u * i], hidden[2u * i + 1u]), bitcast<f32>(routing[TOP_K + slot])); }
    else { stageDigits(i, sharedHidden(min(i - TOP_K * (INNER / 8u), SHARED_INNER / 8u - 1u)), sigmoid(siblings[GATE_AT])); }
  }
  workgroupBarrier();
  var sums: array<f32, ROWS_PER_TEAM>;
  for (var i = 0u; i < STEPS; i++) {
    let block = i * LANES + lane;
    let x = stagedBlock(min(block, BLOCKS - 1u));
    for (var r = 0u; r < ROWS_PER_TEAM; r++) {
      sums[r] += select(0.0, s[r * STEPS + i] * blockDot(w[r * STEPS + i], x), block < BLOCKS);
    }
  }
  for (var r = 0u; r < ROWS_PER_TEAM; r++) {
    let sum = subgroupAdd(sums[r]);
    if (lane == 0u && first + r < COLUMNS) { y[first + r] = residual[first + r] + sum; }
  }
}

// Elements 8 · index … of silu(gate) ⊙ up of the shared expert.
fn sharedHidden(index: u32) -> mat2x4<f32> {
  var x = mat2x4<f32>();
  for (var j = 0u; j < 2u; j++) {
    for (var c = 0u; c < 4u; c++) {
      let at = SHARED_AT + 8u * index + 4u * j + c;
      x[j][c] = silu(siblings[at]) * siblings[SHARED_INNER + at];
    }
  }
  return x;
}
