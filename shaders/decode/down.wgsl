// The second half of the experts for one token, and what follows it in the layer:
//   y = residual + Σ weight · down(hidden) + σ(gate) · sharedDown(silu(sharedGate) ⊙ sharedUp)
// The experts' hidden vectors and the shared one's lie one after the other, as if a row of W were that long; the weights
// of the experts are part of the hidden blocks' scales. A subgroup takes ROWS_PER_TEAM rows.

// Blocks of one expert's row, and of all that a token chose.
const INNER_BLOCKS = EXPERT_BLOCKS / TOP_K;

override COLUMNS: u32;        // of y
override INNER: u32;
override SHARED_INNER: u32;
override SHARED_AT: u32;      // where gate | up of the shared expert begin in `siblings`, and its own gate
override GATE_AT: u32;

@group(0) @binding(0) var<storage, read> hidden: array<vec4<f32>>;    // [TOP_K, INNER]
@group(0) @binding(1) var<storage, read> routing: array<u32>;         // [TOP_K slots | TOP_K weights, bits of f32]
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
  // Ids first, so that no load of weights waits behind another.
  let id$i = routing[min($iu * LANES + lane, EXPERT_BLOCKS - 1u) / INNER_BLOCKS];
  let sharedAt$r_$j = sharedAt(first + $ru, $ju * LANES + lane);
  let sharedW$r_$j = sharedWeight[sharedAt$r_$j];
  let sharedS$r_$j = sharedWeightScales[scaleWord(sharedAt$r_$j)];
  let at$r_$i = expertAt(id$i, first + $ru, $iu * LANES + lane);
  let w$r_$i = weight[at$r_$i];
  let s$r_$i = weightScales[scaleWord(at$r_$i)];
  for (var i = thread; i < ROUNDS * WORKGROUP; i += WORKGROUP) {
    let slot = min(i / (INNER / 8u), TOP_K);
    if (slot < TOP_K) { stageDigits(i, mat2x4<f32>(hidden[2u * i], hidden[2u * i + 1u]), bitcast<f32>(routing[TOP_K + slot])); }
    else { stageDigits(i, sharedHidden(min(i - TOP_K * (INNER / 8u), SHARED_INNER / 8u - 1u)), sigmoid(siblings[GATE_AT])); }
  }
  workgroupBarrier();
  var sum$r = 0.0;
  let x$i = stagedBlock(select($iu * LANES + lane, BLOCKS, $iu * LANES + lane >= EXPERT_BLOCKS));
  sum$r += blockDot(array<vec4<u32>, 1>(w$r_$i), s$r_$i, at$r_$i, x$i);
  let sharedX$j = stagedBlock(EXPERT_BLOCKS + $ju * LANES + lane);
  sum$r += blockDot(array<vec4<u32>, 1>(sharedW$r_$j), sharedS$r_$j, sharedAt$r_$j, sharedX$j);
  sum$r = subgroupAdd(sum$r);
  if (lane == 0u && first + $ru < COLUMNS) { y[first + $ru] = residual[first + $ru] + sum$r; }
}

// Where a block of a row of an expert is, and of the shared one's; the last block where there are no more.
fn expertAt(expert: u32, row: u32, block: u32) -> u32 {
  return (expert * COLUMNS + min(row, COLUMNS - 1u)) * INNER_BLOCKS + min(block, EXPERT_BLOCKS - 1u) % INNER_BLOCKS;
}

fn sharedAt(row: u32, block: u32) -> u32 {
  return min(row, COLUMNS - 1u) * (BLOCKS - EXPERT_BLOCKS) + min(block, BLOCKS - EXPERT_BLOCKS - 1u);
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
