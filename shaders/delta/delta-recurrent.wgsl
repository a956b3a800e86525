// The gated delta rule token by token, S in registers from the first token of a sequence to its last:
//   a = Sᵀk, b = Sᵀq (of the old S);  d = β (v − e^g a);  o = e^g b + (q·k) d;  S ← e^g S + k dᵀ
// One pass over S a token: o needs no second one. LANES neighbouring threads share four columns of S, each with the
// keys of PARTS vectors; they also see all of q and k between them, so the norms cost no barrier.

override WORKGROUP: u32 = 64u;
override KEY_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;          // [T, q | k | v]
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;      // [T, value head, value dim]

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
  let lane = thread % LANES;
  let columns = group.x * (WORKGROUP / LANES) + thread / LANES;  // which four
  let isInside = 4u * columns < VALUE_DIM;
  let keys = KEY_DIM / 4u;
  let values = VALUE_DIM / 4u;
  let rowSize = 2u * KEY_HEADS * keys + VALUE_HEADS * values;
  let column = ((stateSlot(sequence) * VALUE_HEADS + head) * VALUE_DIM + 4u * columns) * keys;

  var S: array<mat4x4<f32>, PARTS>;
  if (position > 0u && isInside) {
    for (var p = 0u; p < PARTS; p++) {
      for (var c = 0u; c < 4u; c++) { S[p][c] = state[column + c * keys + p * LANES + lane]; }
    }
  }

  for (var row = start; row < end; row++) {
    let query = row * rowSize + keyHead * keys + lane;
    var k: array<vec4<f32>, PARTS>;
    var a = vec4<f32>();
    var b = vec4<f32>();
    var products = vec4<f32>();  // k·k, q·q, q·k
    for (var p = 0u; p < PARTS; p++) {
      let qp = qkv[query + p * LANES];
      let kp = qkv[query + KEY_HEADS * keys + p * LANES];
      a += kp * S[p];
      b += qp * S[p];
      products += vec4<f32>(dot(kp, kp), dot(qp, qp), dot(qp, kp), 0.0);
      k[p] = kp;
    }
    let sums = laneSum(mat3x4<f32>(a, b, products), thread, row);
    products = sums[2];
    let keyScale = inverseSqrt(products.x + 1e-6);
    let queryScale = inverseSqrt((products.y + 1e-6) * f32(KEY_DIM));
    let decay = exp(logDecay(row, head));
    let v = qkv[row * rowSize + 2u * KEY_HEADS * keys + head * values + min(columns, values - 1u)];
    let d = writeStrength(row, head) * (v - (decay * keyScale) * sums[0]);
    let o = (decay * queryScale) * sums[1] + (queryScale * keyScale * products.z) * d;
    if (lane == 0u && isInside) { y[(row * VALUE_HEADS + head) * values + columns] = o; }
    let correction = keyScale * d;
    for (var p = 0u; p < PARTS; p++) {
      let kp = k[p];
      S[p] = decay * S[p] + mat4x4<f32>(kp * correction.x, kp * correction.y, kp * correction.z, kp * correction.w);
    }
  }

  if (isInside) {
    for (var p = 0u; p < PARTS; p++) {
      for (var c = 0u; c < 4u; c++) { state[column + c * keys + p * LANES + lane] = S[p][c]; }
    }
  }
}
