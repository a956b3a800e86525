// Chunks of the gated delta rule, the part that needs no state: one workgroup per chunk and value head.
// With γ the running sum of g in the chunk, D_ij = e^(γ_i − γ_j) and A_ij = β_i (k_i·k_j) D_ij below the diagonal,
//   (I + A) U = β V,   (I + A) W = β e^γ K,   P_ij = (q_i·k_j) D_ij on and below the diagonal.
// No factor is ever above 1: differences of γ are taken before exp. Forward substitution in blocks of four rows, each
// thread with four columns of its own, so that nothing but A is shared.

override WORKGROUP: u32 = 64u;  // 8 × 8 tiles of 4 × 4 make a chunk's Gram matrix
override KEY_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;           // [T, q | k | v]
@group(0) @binding(4) var<storage, read_write> solved: array<vec4<f32>>;  // [T, value head, U | W]
@group(0) @binding(6) var<storage, read_write> mixing: array<vec4<f32>>;  // [T, value head, P | scales]

var<workgroup> logDecays: array<f32, CHUNK>;
var<workgroup> gamma: array<f32, CHUNK>;
var<workgroup> beta: array<f32, CHUNK>;
var<workgroup> scales: array<vec2<f32>, CHUNK>;               // of queries and keys
var<workgroup> lower: array<vec4<f32>, CHUNK * CHUNK / 4u>;   // A by columns: [j][i]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let chunk = findRowTile(group.x, CHUNK);
  if (chunk.count == 0u) { return; }
  let head = group.y;
  let keyHead = head / (VALUE_HEADS / KEY_HEADS);
  let keys = KEY_DIM / 4u;
  let values = VALUE_DIM / 4u;
  let rowSize = 2u * KEY_HEADS * keys + VALUE_HEADS * values;
  let queryStart = keyHead * keys;
  let keyStart = (KEY_HEADS + keyHead) * keys;

  if (thread < CHUNK) {
    let row = chunk.first + min(thread, chunk.count - 1u);
    logDecays[thread] = logDecay(row, head);
    beta[thread] = writeStrength(row, head);
    var squares = vec2<f32>();
    for (var p = 0u; p < keys; p++) {
      let q = qkv[row * rowSize + queryStart + p];
      let k = qkv[row * rowSize + keyStart + p];
      squares += vec2<f32>(dot(q, q), dot(k, k));
    }
    scales[thread] = inverseSqrt((squares + 1e-6) * vec2<f32>(f32(KEY_DIM), 1.0));
  }
  workgroupBarrier();
  if (thread < CHUNK) {
    var sum = 0.0;
    for (var i = 0u; i <= min(thread, chunk.count - 1u); i++) { sum += logDecays[i]; }
    gamma[thread] = sum;
  }
  workgroupBarrier();

  let tileRow = thread / 8u;
  let tileColumn = thread % 8u;
  if (tileColumn <= tileRow && 4u * tileRow < chunk.count) {
    var rows: array<u32, 4>;
    var columns: array<u32, 4>;
    for (var i = 0u; i < 4u; i++) {
      rows[i] = (chunk.first + min(4u * tileRow + i, chunk.count - 1u)) * rowSize;
      columns[i] = (chunk.first + min(4u * tileColumn + i, chunk.count - 1u)) * rowSize;
    }
    var keyKey = mat4x4<f32>();  // [column][row]
    var keyQuery = mat4x4<f32>();
    for (var p = 0u; p < keys; p++) {
      let at = keyStart + p;
      let k = mat4x4<f32>(qkv[columns[0] + at], qkv[columns[1] + at], qkv[columns[2] + at], qkv[columns[3] + at]);
      let rowKeys = mat4x4<f32>(qkv[rows[0] + at], qkv[rows[1] + at], qkv[rows[2] + at], qkv[rows[3] + at]);
      let qAt = queryStart + p;
      let q = mat4x4<f32>(qkv[rows[0] + qAt], qkv[rows[1] + qAt], qkv[rows[2] + qAt], qkv[rows[3] + qAt]);
      keyKey += mat4x4<f32>(k[0] * rowKeys, k[1] * rowKeys, k[2] * rowKeys, k[3] * rowKeys);
      keyQuery += mat4x4<f32>(k[0] * q, k[1] * q, k[2] * q, k[3] * q);
    }
    let i = vec4<u32>(4u * tileRow) + vec4<u32>(0u, 1u, 2u, 3u);
    let gammas = vec4<f32>(gamma[i.x], gamma[i.y], gamma[i.z], gamma[i.w]);
    let betas = vec4<f32>(beta[i.x], beta[i.y], beta[i.z], beta[i.w]);
    let s = mat4x2<f32>(scales[i.x], scales[i.y], scales[i.z], scales[i.w]);
    var weights: mat4x4<f32>;  // of P, [column][row]
    for (var c = 0u; c < 4u; c++) {
      let j = 4u * tileColumn + c;
      let decay = scales[j].y * exp(min(gammas - gamma[j], vec4<f32>()));
      let below = i > vec4<u32>(j);
      lower[j * CHUNK / 4u + tileRow] = select(vec4<f32>(), decay * betas * transpose(s)[1] * keyKey[c], below);
      weights[c] = select(vec4<f32>(), decay * transpose(s)[0] * keyQuery[c], i >= vec4<u32>(j));
    }
    weights = transpose(weights);
    for (var r = 0u; r < 4u; r++) {
      if (i[r] < chunk.count) {
        mixing[((chunk.first + i[r]) * VALUE_HEADS + head) * MIXING + tileColumn] = weights[r];
      }
    }
  }
  if (thread < chunk.count) {
    let total = gamma[CHUNK - 1u];
    let scale = scales[thread];
    mixing[((chunk.first + thread) * VALUE_HEADS + head) * MIXING + CHUNK / 4u] =
      vec4<f32>(scale.x * exp(gamma[thread]), scale.y * exp(total - gamma[thread]), exp(total), 0.0);
  }
  workgroupBarrier();

  let width = values + keys;
  let valueStart = 2u * KEY_HEADS * keys + head * values;
  for (var column = thread; column < width; column += WORKGROUP) {
    let isKey = column >= values;
    let source = select(valueStart + column, keyStart + column - values, isKey);
    let out = (chunk.first * VALUE_HEADS + head) * width + column;
    let outStride = VALUE_HEADS * width;
    for (var block = 0u; 4u * block < chunk.count; block++) {
      var x: array<vec4<f32>, 4>;
      for (var r = 0u; r < 4u; r++) {
        let i = min(4u * block + r, chunk.count - 1u);
        let factor = beta[i] * select(1.0, scales[i].y * exp(gamma[i]), isKey);
        x[r] = factor * qkv[(chunk.first + i) * rowSize + source];
      }
      for (var j = 0u; j < 4u * block; j++) {
        let a = lower[j * CHUNK / 4u + block];
        let done = solved[out + j * outStride];
        for (var r = 0u; r < 4u; r++) { x[r] -= a[r] * done; }
      }
      let a0 = lower[(4u * block) * CHUNK / 4u + block];
      let a1 = lower[(4u * block + 1u) * CHUNK / 4u + block];
      let a2 = lower[(4u * block + 2u) * CHUNK / 4u + block];
      x[1] -= a0.y * x[0];
      x[2] -= a0.z * x[0] + a1.z * x[1];
      x[3] -= a0.w * x[0] + a1.w * x[1] + a2.w * x[2];
      for (var r = 0u; r < 4u; r++) {
        if (4u * block + r < chunk.count) { solved[out + (4u * block + r) * outStride] = x[r]; }
      }
    }
  }
}
