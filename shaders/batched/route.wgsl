// Routing of each row: the TOP_K largest logits (ties: the lower index) with softmax over them, by a workgroup's first
// subgroup. The others meanwhile make digits of the row's hidden vector of the shared expert, which comes behind those of all pairs.
// Rows without a sequence choose nobody. Grid: [rows].

override EXPERTS: u32;
override INNER: u32;
override LOGITS_OFFSET: u32;
override LOGITS_STRIDE: u32;
override SHARED_AT: u32;  // where gate | up of the shared expert begin in a row of `logits`, and its own gate
override GATE_AT: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;                    // [rows, EXPERTS], a view with siblings
@group(0) @binding(1) var<storage, read_write> ids: array<u32>;                 // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> hiddenDigits: array<vec4<u32>>;  // [pairs, then rows][eight of a block][block]
@group(0) @binding(3) var<storage, read_write> hiddenScales: array<vec2<f32>>;  // [pairs, then rows][block], scale and sum
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;             // [rows, TOP_K + 1], the shared one's last

const NOBODY = 0xffffffffu;
const STAGING = WORKGROUP - LANES;

var<workgroup> shares: array<f32, TOP_K>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.x;
  if (row >= tokenCount()) { return; }
  if (thread < LANES) {
    route(row, thread);
  } else {
    for (var i = thread - LANES; i < (INNER / 8u + STAGING - 1u) / STAGING * STAGING; i += STAGING) { keepShared(row, i); }
  }
}

fn route(row: u32, lane: u32) {
  var keys: array<u32, SHARE>;
  for (var i = 0u; i < SHARE; i++) {
    let e = i * LANES + lane;
    keys[i] = select(0u, keyOf(logits[LOGITS_OFFSET + row * LOGITS_STRIDE + min(e, EXPERTS - 1u)]), e < EXPERTS);
  }
  let isActive = positionAt(row) != INACTIVE;
  var top = 0.0;
  var total = 0.0;
  for (var k = 0u; k < TOP_K; k++) {
    let best = takeBest(&keys, lane);
    let value = valueOf(best.key);
    if (k == 0u) { top = value; }
    let share = exp(value - top);
    total += share;
    if (lane == 0u) {
      shares[k] = share;
      ids[row * TOP_K + k] = select(NOBODY, min(best.index, EXPERTS - 1u), isActive);
    }
  }
  if (lane == 0u) {
    let first = row * (TOP_K + 1u);
    for (var k = 0u; k < TOP_K; k++) { weights[first + k] = shares[k] / total; }
    weights[first + TOP_K] = sigmoid(logits[GATE_AT + row * LOGITS_STRIDE]);
  }
}

// Digits of elements 8 · index … of silu(gate) ⊙ up.
fn keepShared(row: u32, index: u32) {
  var x: mat2x4<f32>;
  for (var c = 0u; c < 8u; c++) {
    let at = SHARED_AT + row * LOGITS_STRIDE + 8u * min(index, INNER / 8u - 1u) + c;
    x[c / 4u][c % 4u] = silu(logits[at]) * logits[INNER + at];
  }
  let its = toDigits(x);
  if (index >= INNER / 8u) { return; }
  let pair = ROWS * TOP_K + row;
  let block = index / 4u;
  hiddenDigits[(pair * 4u + index % 4u) * (INNER / 32u) + block] = its.words;
  if (index % 4u == 0u) { hiddenScales[pair * (INNER / 32u) + block] = vec2<f32>(its.scale, its.sum); }
}
