// The gated delta rule for one token a sequence, where a workgroup is one subgroup. With the old S:
//   a = Sᵀk, b = Sᵀq;  d = β (v − e^g a);  o = e^g b + (q·k) d;  S ← e^g S + k dᵀ
// Keys are split over lanes, and k, q and the gates serve all columns of a slice: it goes through S four columns at a time.

override WORKGROUP: u32;
override SLICES: u32;  // of a head's columns
override KEY_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;          // [T, q | k | v]
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;      // [T, value head, value dim]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sequence = group.z;
  if (sequence >= sequenceCount()) { return; }
  let row = sequenceStart(sequence);
  let position = positionAt(row);
  if (position == INACTIVE) { return; }

  let head = group.y;
  let keyHead = head / (VALUE_HEADS / KEY_HEADS);
  let keys = KEY_DIM / 4u;
  let values = VALUE_DIM / 4u;
  let rowSize = 2u * KEY_HEADS * keys + VALUE_HEADS * values;
  let query = row * rowSize + keyHead * keys + lane;

  var k: array<vec4<f32>, PARTS>;
  var q: array<vec4<f32>, PARTS>;
  var products = vec3<f32>();  // k·k, q·q, q·k
  for (var p = 0u; p < PARTS; p++) {
    q[p] = qkv[query + p * LANES];
    k[p] = qkv[query + KEY_HEADS * keys + p * LANES];
    products += vec3<f32>(dot(k[p], k[p]), dot(q[p], q[p]), dot(q[p], k[p]));
  }
  products = subgroupAdd(products);
  let keyScale = inverseSqrt(products.x + 1e-6);
  let queryScale = inverseSqrt((products.y + 1e-6) * f32(KEY_DIM));
  let decay = exp(logDecay(row, head));
  let strength = writeStrength(row, head);
  let mixing = queryScale * keyScale * products.z;

  let perSlice = (values + SLICES - 1u) / SLICES;
  let end = min((group.x + 1u) * perSlice, values);
  for (var columns = group.x * perSlice; columns < end; columns++) {
    let first = ((stateSlot(sequence) * VALUE_HEADS + head) * VALUE_DIM + 4u * columns) * keys + lane;
    var S: array<mat4x4<f32>, PARTS>;
    if (position > 0u) {
      for (var p = 0u; p < PARTS; p++) {
        for (var c = 0u; c < 4u; c++) { S[p][c] = state[first + c * keys + p * LANES]; }
      }
    }
    var sums = mat2x4<f32>();  // a, b
    for (var p = 0u; p < PARTS; p++) { sums += mat2x4<f32>(k[p] * S[p], q[p] * S[p]); }
    for (var step = 1u; step < LANES; step *= 2u) {
      sums += mat2x4<f32>(subgroupShuffleXor(sums[0], step), subgroupShuffleXor(sums[1], step));
    }
    let v = qkv[row * rowSize + 2u * KEY_HEADS * keys + head * values + columns];
    let d = strength * (v - (decay * keyScale) * sums[0]);
    if (lane == 0u) { y[(row * VALUE_HEADS + head) * values + columns] = (decay * queryScale) * sums[1] + mixing * d; }
    let correction = keyScale * d;
    for (var p = 0u; p < PARTS; p++) {
      for (var c = 0u; c < 4u; c++) { state[first + c * keys + p * LANES] = decay * S[p][c] + correction[c] * k[p]; }
    }
  }
}
