// Chunks of the gated delta rule in order, by products of matrices, from what delta-prepare left: a workgroup has SLICE
// columns of S of one value head and sequence. Per chunk:
//   Δ = U − W S,   O = e^γ Q S + P Δ,   S ← e^γ_end S + (e^(γ_end − γ) K)ᵀ Δ
// S stays in results in f32. Its copy in f16, and Δ's, go through workgroup memory. Both are divided by a power of two that
// follows from a bound: columns of S are never longer than e^γ_end · before + Σ |v|, and Δ is not larger than S with that sum.
// What a chunk needs is loaded while the one before is under way.

override VALUE_HEADS: u32;

@group(0) @binding(0) var<storage, read> operands: array<vec4<u32>>;     // [chunk, value head, OPERANDS]
@group(0) @binding(1) var<storage, read> corrections: array<vec4<f32>>;  // [chunk, value head, CORRECTIONS]
@group(0) @binding(2) var<storage, read> decays: array<vec2<f32>>;       // [chunk, value head]: e^γ_end, max |v|
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;      // [T, value head, value dim]

const KEYS8 = KEY_DIM / 8u;
const TOKENS8 = CHUNK / 8u;

// By columns; each is one vector longer than it needs, so that matrices are read from all banks.
const STATE_STRIDE = KEYS8 + 1u;
const DELTA_STRIDE = TOKENS8 + 1u;
const WIDE_STATE = KEY_DIM / 4u + 1u;
const WIDE_DELTA = CHUNK / 4u + 1u;
const WIDE_OUTPUT = SLICE / 4u;  // by rows
var<workgroup> stateHalves: array<vec4<u32>, SLICE * STATE_STRIDE>;
var<workgroup> deltaHalves: array<vec4<u32>, SLICE * DELTA_STRIDE>;
var<workgroup> wide: array<vec4<f32>, SLICE * max(WIDE_STATE, WIDE_DELTA)>;  // of results, on their way to f16
var<workgroup> largest: array<f32, SUBGROUPS>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let sequence = group.z;
  if (sequence >= sequenceCount()) { return; }
  let start = sequenceStart(sequence);
  let end = sequenceStart(sequence + 1u);
  let position = positionAt(start);
  if (position == INACTIVE) { return; }

  let subgroup = thread / LANES;
  let head = group.y;
  var chunk = chunksBefore(sequence);
  let last = chunk + (end - start - 1u) / CHUNK;
  let stateAt = ((stateSlot(sequence) * VALUE_HEADS + head) * VALUE_DIM + group.x * SLICE) * (KEY_DIM / 4u);
  let tile = subgroup % HALF;       // of the chunk's rows
  let isOutput = subgroup >= HALF;  // of O, or else of Δ
  let key$t = min($tu * SUBGROUPS + subgroup, KEY_DIM / M - 1u);  // matrices of S's rows
  let isKey$t = ($tu + 1u) * SUBGROUPS <= KEY_DIM / M || $tu * SUBGROUPS + subgroup < KEY_DIM / M;
  let stackAt = subgroup * (KEY_DIM / K) * TILE;
  let keysAt$t = KEYS_AT + key$t * (CHUNK / K) * TILE;
  let mixingAt = MIXING_AT + tile * (CHUNK / K) * TILE;
  let uAt = tile * M * VALUE_DIM / 4u + group.x * (SLICE * M / 4u);
  let resultAt$t$c = stateAt + $cu * N * (KEY_DIM / 4u) + key$t * (M / 4u);

  var bound = 0.0;
  var s$t$c = Result();
  if (position > 0u) {
    for (var e = thread; e < SLICE * KEY_DIM / 4u; e += WORKGROUP) { bound = max(bound, largestOf(state[stateAt + e])); }
    bound = subgroupMax(bound);
    if (thread % LANES == 0u) { largest[subgroup] = bound; }
    workgroupBarrier();
    for (var i = 0u; i < SUBGROUPS; i++) { bound = max(bound, largest[i]); }
    bound *= sqrt(f32(KEY_DIM));
    if (isKey$t) { s$t$c = subgroupMatrixLoad<Result, col_major>(&state, resultAt$t$c, KEY_DIM / 4u); }
  }
  var decay = decays[chunk * VALUE_HEADS + head];
  var scale = scaleFor(bound + f32(CHUNK) * decay.y);
  var unit = 1.0;  // of s
  for (var e = thread; e < SLICE * KEYS8; e += WORKGROUP) {
    var halves = vec4<u32>();
    if (position > 0u) {
      let at = stateAt + 2u * e;
      halves = halves8(state[at] / scale, state[at + 1u] / scale);
    }
    stateHalves[e / KEYS8 * STATE_STRIDE + e % KEYS8] = halves;
  }

  var w$k: Left;
  var u$c = Result();
  var p$j: Left;
  var k$t$j: Left;
  var a$c: Result;
  var home = chunk * VALUE_HEADS + head;
  w$k = subgroupMatrixLoad<Left, row_major>(&operands, home * OPERANDS + stackAt + $ku * TILE, K / 8u);
  if (!isOutput) { u$c = subgroupMatrixLoad<Result, row_major>(&corrections, home * CORRECTIONS + uAt + $cu * (M * N / 4u), N / 4u); }
  if (isOutput && $ju * K < (tile + 1u) * M) { p$j = subgroupMatrixLoad<Left, row_major>(&operands, home * OPERANDS + mixingAt + $ju * TILE, K / 8u); }
  if (isKey$t) { k$t$j = subgroupMatrixLoad<Left, row_major>(&operands, home * OPERANDS + keysAt$t + $ju * TILE, K / 8u); }
  workgroupBarrier();

  for (var row = start; row < end; row += CHUNK) {
    chunk = min(chunk + 1u, last);
    home = chunk * VALUE_HEADS + head;
    let next = decays[home];

    // Δ in the first half of subgroups, Q S in the others.
    a$c = subgroupMatrixScalarMultiply(u$c, 1.0 / scale);
    a$c = subgroupMatrixMultiplyAccumulate(w$k, subgroupMatrixLoad<Right, col_major>(&stateHalves, $cu * N * STATE_STRIDE + $ku * (K / 8u), STATE_STRIDE), a$c);
    w$k = subgroupMatrixLoad<Left, row_major>(&operands, home * OPERANDS + stackAt + $ku * TILE, K / 8u);
    if (!isOutput) { u$c = subgroupMatrixLoad<Result, row_major>(&corrections, home * CORRECTIONS + uAt + $cu * (M * N / 4u), N / 4u); }
    if (!isOutput) { subgroupMatrixStore<col_major>(&wide, $cu * N * WIDE_DELTA + tile * (M / 4u), a$c, WIDE_DELTA); }
    workgroupBarrier();
    for (var e = thread; e < SLICE * TOKENS8; e += WORKGROUP) {
      let at = e / TOKENS8 * WIDE_DELTA + 2u * (e % TOKENS8);
      deltaHalves[e / TOKENS8 * DELTA_STRIDE + e % TOKENS8] = halves8(wide[at], wide[at + 1u]);
    }
    workgroupBarrier();

    s$t$c = subgroupMatrixScalarMultiply(s$t$c, decay.x * unit / scale);
    unit = scale;
    let d$j$c = subgroupMatrixLoad<Right, col_major>(&deltaHalves, $cu * N * DELTA_STRIDE + $ju * (K / 8u), DELTA_STRIDE);
    if (isKey$t) { s$t$c = subgroupMatrixMultiplyAccumulate(k$t$j, d$j$c, s$t$c); }
    if (isOutput && $ju * K < (tile + 1u) * M) { a$c = subgroupMatrixMultiplyAccumulate(p$j, d$j$c, a$c); }
    if (isOutput && $ju * K < (tile + 1u) * M) { p$j = subgroupMatrixLoad<Left, row_major>(&operands, home * OPERANDS + mixingAt + $ju * TILE, K / 8u); }
    if (isKey$t) { k$t$j = subgroupMatrixLoad<Left, row_major>(&operands, home * OPERANDS + keysAt$t + $ju * TILE, K / 8u); }
    if (isKey$t) { subgroupMatrixStore<col_major>(&wide, $cu * N * WIDE_STATE + key$t * (M / 4u), s$t$c, WIDE_STATE); }
    a$c = subgroupMatrixScalarMultiply(a$c, scale * inverseSqrt(f32(KEY_DIM)));
    let out = ((row + tile * M) * VALUE_HEADS + head) * (VALUE_DIM / 4u) + group.x * (SLICE / 4u);
    if (isOutput && end - row >= CHUNK) { subgroupMatrixStore<row_major>(&y, out + $cu * (N / 4u), a$c, VALUE_HEADS * VALUE_DIM / 4u); }
    workgroupBarrier();

    bound = decay.x * bound + f32(CHUNK) * decay.y;
    scale = scaleFor(bound + f32(CHUNK) * next.y);
    decay = next;
    for (var e = thread; e < SLICE * KEYS8; e += WORKGROUP) {
      let at = e / KEYS8 * WIDE_STATE + 2u * (e % KEYS8);
      stateHalves[e / KEYS8 * STATE_STRIDE + e % KEYS8] = halves8(wide[at] * (unit / scale), wide[at + 1u] * (unit / scale));
    }
    workgroupBarrier();
  }

  if (isKey$t) { subgroupMatrixStore<col_major>(&state, resultAt$t$c, subgroupMatrixScalarMultiply(s$t$c, unit), KEY_DIM / 4u); }
  // Rows after the last belong to others.
  let count = (end - start) % CHUNK;
  if (count > 0u) {
    if (isOutput) { subgroupMatrixStore<row_major>(&wide, tile * M * WIDE_OUTPUT + $cu * (N / 4u), a$c, WIDE_OUTPUT); }
    workgroupBarrier();
    for (var e = thread; e < count * WIDE_OUTPUT; e += WORKGROUP) {
      let row = end - count + e / WIDE_OUTPUT;
      y[(row * VALUE_HEADS + head) * (VALUE_DIM / 4u) + group.x * WIDE_OUTPUT + e % WIDE_OUTPUT] = wide[e];
    }
  }
}

fn chunksBefore(sequence: u32) -> u32 {
  var count = 0u;
  for (var s = 0u; s < sequence; s++) { count += (sequenceStart(s + 1u) - sequenceStart(s) + CHUNK - 1u) / CHUNK; }
  return count;
}
