// Chunks of the gated delta rule in order, from what delta-solve prepared: sixteen columns of S of one value head and
// sequence stay in workgroup memory. Per chunk:
//   Δ = U − W S,   O = e^γ Q S + P Δ,   S ← e^γ_end S + (e^(γ_end − γ) K)ᵀ Δ

override WORKGROUP: u32 = 64u;  // pairs of rows × vectors of columns
override KEY_HEADS: u32;
override VALUE_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;          // [T, q | k | v]
@group(0) @binding(1) var<storage, read> solved: array<vec4<f32>>;       // [T, value head, U | W]
@group(0) @binding(2) var<storage, read> mixing: array<vec4<f32>>;       // [T, value head, P | scales]
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;      // [T, value head, value dim]

const SLICE = 4u;  // vectors of columns

var<workgroup> S: array<vec4<f32>, KEY_DIM * SLICE>;
var<workgroup> corrections: array<vec4<f32>, CHUNK * SLICE>;  // Δ
var<workgroup> keyScales: array<f32, CHUNK>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let sequence = group.z;
  if (sequence >= sequenceCount()) { return; }
  let start = sequenceStart(sequence);
  let end = sequenceStart(sequence + 1u);
  let position = positionAt(start);
  if (position == INACTIVE) { return; }

  let head = group.y;
  let keyHead = head / (VALUE_HEADS / KEY_HEADS);
  let keys = KEY_DIM / 4u;
  let values = VALUE_DIM / 4u;
  let rowSize = 2u * KEY_HEADS * keys + VALUE_HEADS * values;
  let queryStart = keyHead * keys;
  let keyStart = (KEY_HEADS + keyHead) * keys;
  let column = thread % SLICE;               // of this slice
  let valueColumn = group.x * SLICE + column;  // of the head
  let stateColumn = ((stateSlot(sequence) * VALUE_HEADS + head) * VALUE_DIM + 4u * valueColumn) * keys;

  for (var p = thread / SLICE; p < keys; p += WORKGROUP / SLICE) {
    var block = mat4x4<f32>();
    if (position > 0u) {
      let at = stateColumn + p;
      block = transpose(mat4x4<f32>(state[at], state[at + keys], state[at + 2u * keys], state[at + 3u * keys]));
    }
    for (var i = 0u; i < 4u; i++) { S[(4u * p + i) * SLICE + column] = block[i]; }
  }

  let width = values + keys;
  let i0 = 2u * (thread / SLICE);
  for (var first = start; first < end; first += CHUNK) {
    let count = min(CHUNK, end - first);
    let row0 = first + min(i0, count - 1u);
    let row1 = first + min(i0 + 1u, count - 1u);
    let out0 = row0 * VALUE_HEADS + head;
    let out1 = row1 * VALUE_HEADS + head;
    if (thread < count) { keyScales[thread] = mixing[((first + thread) * VALUE_HEADS + head) * MIXING + CHUNK / 4u].y; }
    workgroupBarrier();

    var recalled0 = vec4<f32>();  // W S
    var recalled1 = vec4<f32>();
    var read0 = vec4<f32>();      // Q S
    var read1 = vec4<f32>();
    for (var p = 0u; p < keys; p++) {
      let at = 4u * p * SLICE + column;
      let s = mat4x4<f32>(S[at], S[at + SLICE], S[at + 2u * SLICE], S[at + 3u * SLICE]);
      recalled0 += s * solved[out0 * width + values + p];
      recalled1 += s * solved[out1 * width + values + p];
      read0 += s * qkv[row0 * rowSize + queryStart + p];
      read1 += s * qkv[row1 * rowSize + queryStart + p];
    }
    corrections[i0 * SLICE + column] = select(vec4<f32>(), solved[out0 * width + valueColumn] - recalled0, i0 < count);
    corrections[(i0 + 1u) * SLICE + column] =
      select(vec4<f32>(), solved[out1 * width + valueColumn] - recalled1, i0 + 1u < count);
    workgroupBarrier();

    var o0 = mixing[out0 * MIXING + CHUNK / 4u].x * read0;
    var o1 = mixing[out1 * MIXING + CHUNK / 4u].x * read1;
    for (var j = 0u; j <= i0 / 4u; j++) {
      let at = 4u * j * SLICE + column;
      let d = mat4x4<f32>(
        corrections[at], corrections[at + SLICE], corrections[at + 2u * SLICE], corrections[at + 3u * SLICE]);
      o0 += d * mixing[out0 * MIXING + j];
      o1 += d * mixing[out1 * MIXING + j];
    }
    if (i0 < count) { y[out0 * values + valueColumn] = o0; }
    if (i0 + 1u < count) { y[out1 * values + valueColumn] = o1; }

    let decay = mixing[(first * VALUE_HEADS + head) * MIXING + CHUNK / 4u].z;
    for (var p = 2u * (thread / SLICE); p < keys; p += 2u * WORKGROUP / SLICE) {
      let at = 4u * p * SLICE + column;
      var low = decay * mat4x4<f32>(S[at], S[at + SLICE], S[at + 2u * SLICE], S[at + 3u * SLICE]);
      var high = decay *
        mat4x4<f32>(S[at + 4u * SLICE], S[at + 5u * SLICE], S[at + 6u * SLICE], S[at + 7u * SLICE]);
      for (var j = 0u; j < count; j++) {
        let d = keyScales[j] * corrections[j * SLICE + column];
        let k0 = qkv[(first + j) * rowSize + keyStart + p];
        let k1 = qkv[(first + j) * rowSize + keyStart + p + 1u];
        low += mat4x4<f32>(k0.x * d, k0.y * d, k0.z * d, k0.w * d);
        high += mat4x4<f32>(k1.x * d, k1.y * d, k1.z * d, k1.w * d);
      }
      for (var i = 0u; i < 4u; i++) {
        S[at + i * SLICE] = low[i];
        S[at + (4u + i) * SLICE] = high[i];
      }
    }
    workgroupBarrier();
  }

  for (var p = thread / SLICE; p < keys; p += WORKGROUP / SLICE) {
    let at = 4u * p * SLICE + column;
    let block = transpose(mat4x4<f32>(S[at], S[at + SLICE], S[at + 2u * SLICE], S[at + 3u * SLICE]));
    for (var c = 0u; c < 4u; c++) { state[stateColumn + c * keys + p] = block[c]; }
  }
}
