// Chunks of the gated delta rule by products of matrices, the part that needs no state: one workgroup per chunk and value
// head. With γ the running sum of g in the chunk, D_ij = e^(γ_i − γ_j) and A_ij = β_i (k_i·k_j) D_ij below the diagonal,
//   T = (I + A)⁻¹,   U = T β V,   W = T β e^γ K,   P_ij = (q_i·k_j) D_ij on and below the diagonal.
// The inverse and all decays are in f32. What is rounded to f16 is at most 1, but for V, which is divided by a power of two:
// every step of the rule shrinks what is there before, so no entry of T, and no row of W, is longer than 1.

override KEY_HEADS: u32;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;                // [T, q | k | v]
@group(0) @binding(4) var<storage, read_write> operands: array<vec4<u32>>;     // [chunk, value head, OPERANDS]
@group(0) @binding(6) var<storage, read_write> corrections: array<vec4<f32>>;  // [chunk, value head, CORRECTIONS]
@group(0) @binding(7) var<storage, read_write> decays: array<vec2<f32>>;       // [chunk, value head]: e^γ_end, max |v|

const KEYS8 = KEY_DIM / 8u;
const VALUES8 = VALUE_DIM / 8u;

// Rows are one vector longer than they need, so that matrices are read from all banks.
const KEY_STRIDE = KEYS8 + 1u;
const VALUE_STRIDE = VALUES8 + 1u;
const SQUARE_STRIDE = CHUNK / 4u + 1u;
const INVERSE_STRIDE = CHUNK / 8u + 1u;
const W_STRIDE = KEY_DIM / 4u + 1u;

// The pool holds K, then Q, which gives way to Q Kᵀ, to A and its inverse in f32, and to V; then T in f16. In the end W in
// f32 takes the place of all.
const SECOND = CHUNK * KEY_STRIDE;
const THIRD = SECOND + CHUNK * max(max(KEY_STRIDE, VALUE_STRIDE), SQUARE_STRIDE);
var<workgroup> pool: array<vec4<u32>, THIRD + CHUNK * INVERSE_STRIDE>;
var<workgroup> gamma: array<f32, CHUNK>;
var<workgroup> beta: array<f32, CHUNK>;
var<workgroup> bySubgroup: array<vec2<f32>, SUBGROUPS>;  // sum of g, largest |v|

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let chunk = findRowTile(group.x, CHUNK);
  if (chunk.count == 0u) { return; }
  let subgroup = thread / LANES;
  let lane = thread % LANES;
  let head = group.y;
  let keyHead = head / (VALUE_HEADS / KEY_HEADS);
  let rowSize = (2u * KEY_HEADS * KEY_DIM + VALUE_HEADS * VALUE_DIM) / 4u;
  let queryStart = keyHead * KEY_DIM / 4u;
  let keyStart = (KEY_HEADS + keyHead) * KEY_DIM / 4u;
  let valueStart = (2u * KEY_HEADS * KEY_DIM + head * VALUE_DIM) / 4u;
  let home = group.x * VALUE_HEADS + head;
  let out = home * OPERANDS;

  // Rows beyond the chunk's end are zeros, and decay nothing. A decay below e^-40 is as good as e^-40, and leaves the
  // sums their precision.
  var g = 0.0;
  if (thread < CHUNK) {
    let row = chunk.first + min(thread, chunk.count - 1u);
    g = select(0.0, max(logDecay(row, head), -40.0), thread < chunk.count);
    beta[thread] = select(0.0, writeStrength(row, head), thread < chunk.count);
  }
  g = subgroupInclusiveAdd(g);
  var size = 0.0;
  for (var e = thread; e < chunk.count * VALUE_DIM / 4u; e += WORKGROUP) {
    let row = chunk.first + e / (VALUE_DIM / 4u);
    size = max(size, largestOf(qkv[row * rowSize + valueStart + e % (VALUE_DIM / 4u)]));
  }
  size = subgroupMax(size);
  if (lane == LANES - 1u) { bySubgroup[subgroup] = vec2<f32>(g, size); }
  workgroupBarrier();
  for (var i = 0u; i < SUBGROUPS; i++) {
    size = max(size, bySubgroup[i].y);
    g += select(0.0, bySubgroup[i].x, i < subgroup);
  }
  if (thread < CHUNK) { gamma[thread] = g; }
  workgroupBarrier();
  let end = gamma[CHUNK - 1u];
  if (thread == 0u) { decays[home] = vec2<f32>(exp(end), size); }

  // K and Q, normalised: a subgroup takes a row of both, and asks for four such rows before it uses one.
  let e$p = $pu * LANES + lane;
  let part$p = select(keyStart, queryStart, e$p >= KEYS8) + 2u * (e$p % KEYS8);
  let isIn$p = select(vec2<f32>(1.0, 0.0), vec2<f32>(0.0, 1.0), e$p >= KEYS8);
  for (var first = subgroup; first < CHUNK; first += 4u * SUBGROUPS) {
    let r$q = first + $qu * SUBGROUPS;
    let at$p$q = (chunk.first + min(r$q, chunk.count - 1u)) * rowSize + part$p;
    var low$p$q = vec4<f32>();
    var high$p$q = vec4<f32>();
    if (e$p < 2u * KEYS8) { low$p$q = qkv[at$p$q]; high$p$q = qkv[at$p$q + 1u]; }
    var squares$q = vec2<f32>();
    squares$q += (dot(low$p$q, low$p$q) + dot(high$p$q, high$p$q)) * isIn$p;
    let scale$q = select(vec2<f32>(), inverseSqrt(subgroupAdd(squares$q) + 1e-6), r$q < chunk.count);
    if (e$p < KEYS8) { pool[r$q * KEY_STRIDE + e$p] = halves8(scale$q.x * low$p$q, scale$q.x * high$p$q); }
    if (e$p >= KEYS8 && e$p < 2u * KEYS8) { storeQuery(out, r$q, e$p - KEYS8, scale$q.y * low$p$q, scale$q.y * high$p$q); }
  }
  workgroupBarrier();

  // K Kᵀ in the first half of subgroups, Q Kᵀ in the others.
  let tile = subgroup % HALF;
  let isQuery = subgroup >= HALF;
  let rows = select(0u, SECOND, isQuery) + tile * M * KEY_STRIDE;
  var gram$g = Result();
  for (var k = 0u; k < KEY_DIM / K; k++) {
    let a = subgroupMatrixLoad<Left, row_major>(&pool, rows + k * (K / 8u), KEY_STRIDE);
    if ($gu * N < (tile + 1u) * M) { gram$g = subgroupMatrixMultiplyAccumulate(a, subgroupMatrixLoad<Right, col_major>(&pool, $gu * N * KEY_STRIDE + k * (K / 8u), KEY_STRIDE), gram$g); }
  }
  workgroupBarrier();
  let square = SECOND + tile * M * SQUARE_STRIDE;
  if (isQuery) { subgroupMatrixStore<row_major>(&pool, square + $gu * N / 4u, gram$g, SQUARE_STRIDE); }
  workgroupBarrier();
  for (var e = thread; e < CHUNK * CHUNK / 8u; e += WORKGROUP) {
    let i = e / (CHUNK / 8u);
    let j = 8u * (e % (CHUNK / 8u));
    let at = SECOND + i * SQUARE_STRIDE + j / 4u;
    let low = decayed(i, j) * bitcast<vec4<f32>>(pool[at]);
    let high = decayed(i, j + 4u) * bitcast<vec4<f32>>(pool[at + 1u]);
    operands[out + MIXING_AT + tileAt(i, j / 8u, CHUNK)] = halves8(low, high);
  }
  storeKeys(out + KEYS_AT, end, thread);
  workgroupBarrier();
  if (!isQuery) { subgroupMatrixStore<row_major>(&pool, square + $gu * N / 4u, gram$g, SQUARE_STRIDE); }
  workgroupBarrier();
  for (var e = thread; e < CHUNK * CHUNK / 4u; e += WORKGROUP) {
    let i = e / (CHUNK / 4u);
    let j = 4u * (e % (CHUNK / 4u));
    let at = SECOND + i * SQUARE_STRIDE + j / 4u;
    let below = vec4<u32>(j, j + 1u, j + 2u, j + 3u) < vec4<u32>(i);
    pool[at] = bitcast<vec4<u32>>(select(vec4<f32>(), beta[i] * decayed(i, j) * bitcast<vec4<f32>>(pool[at]), below));
  }
  workgroupBarrier();

  invert(thread);
  for (var e = thread; e < CHUNK * CHUNK / 8u; e += WORKGROUP) {
    let i = e / (CHUNK / 8u);
    let j = e % (CHUNK / 8u);
    pool[THIRD + i * INVERSE_STRIDE + j] = halves8(entries(i, 2u * j), entries(i, 2u * j + 1u));
  }
  workgroupBarrier();
  let valueScale = scaleFor(size);
  for (var e = thread; e < CHUNK * VALUES8; e += WORKGROUP) {
    let i = e / VALUES8;
    let at = (chunk.first + min(i, chunk.count - 1u)) * rowSize + valueStart + 2u * (e % VALUES8);
    let factor = beta[i] / valueScale;
    pool[SECOND + i * VALUE_STRIDE + e % VALUES8] = halves8(factor * qkv[at], factor * qkv[at + 1u]);
  }
  for (var e = thread; e < CHUNK * KEYS8; e += WORKGROUP) {
    let i = e / KEYS8;
    let at = i * KEY_STRIDE + e % KEYS8;
    let k = pool[at];
    let factor = beta[i] * exp(gamma[i]);
    let low = factor * vec4<f32>(unpack2x16float(k.x), unpack2x16float(k.y));
    pool[at] = halves8(low, factor * vec4<f32>(unpack2x16float(k.z), unpack2x16float(k.w)));
  }
  workgroupBarrier();

  // U and W: a subgroup takes matrices of columns, with all rows. T is zero above its diagonal.
  let inverseAt$r = THIRD + $ru * M * INVERSE_STRIDE;
  for (var column = subgroup; column < VALUE_DIM / N; column += SUBGROUPS) {
    var u$r = Result();
    for (var k = 0u; k < CHUNK / K; k++) {
      let b = subgroupMatrixLoad<Right, row_major>(&pool, SECOND + k * K * VALUE_STRIDE + column * (N / 8u), VALUE_STRIDE);
      let t$r = subgroupMatrixLoad<Left, row_major>(&pool, inverseAt$r + k * (K / 8u), INVERSE_STRIDE);
      if (k * K < ($ru + 1u) * M) { u$r = subgroupMatrixMultiplyAccumulate(t$r, b, u$r); }
    }
    let at = home * CORRECTIONS + column * (M * N / 4u);
    subgroupMatrixStore<row_major>(&corrections, at + $ru * M * VALUE_DIM / 4u, subgroupMatrixScalarMultiply(u$r, valueScale), N / 4u);
  }
  var w$t$r = Result();
  for (var k = 0u; k < CHUNK / K; k++) {
    let column$t = min($tu * SUBGROUPS + subgroup, KEY_DIM / N - 1u);
    let b$t = subgroupMatrixLoad<Right, row_major>(&pool, k * K * KEY_STRIDE + column$t * (N / 8u), KEY_STRIDE);
    let t$r = subgroupMatrixLoad<Left, row_major>(&pool, inverseAt$r + k * (K / 8u), INVERSE_STRIDE);
    if (k * K < ($ru + 1u) * M) { w$t$r = subgroupMatrixMultiplyAccumulate(t$r, b$t, w$t$r); }
  }
  workgroupBarrier();
  if (($tu * SUBGROUPS + subgroup) * N < KEY_DIM) { subgroupMatrixStore<row_major>(&pool, $ru * M * W_STRIDE + ($tu * SUBGROUPS + subgroup) * (N / 4u), w$t$r, W_STRIDE); }
  workgroupBarrier();
  for (var e = thread; e < CHUNK * KEYS8; e += WORKGROUP) {
    let i = e / KEYS8;
    let at = i * W_STRIDE + 2u * (e % KEYS8);
    operands[out + tileAt(i, e % KEYS8, KEY_DIM)] =
      halves8(-bitcast<vec4<f32>>(pool[at]), -bitcast<vec4<f32>>(pool[at + 1u]));
  }
}

fn storeQuery(out: u32, r: u32, column8: u32, low: vec4<f32>, high: vec4<f32>) {
  pool[SECOND + r * KEY_STRIDE + column8] = halves8(low, high);
  let decay = exp(gamma[r]);
  operands[out + tileAt(CHUNK + r, column8, KEY_DIM)] = halves8(decay * low, decay * high);
}

// D_ij for four columns from j on; 0 above the diagonal.
fn decayed(i: u32, j: u32) -> vec4<f32> {
  let gammas = vec4<f32>(gamma[j], gamma[j + 1u], gamma[j + 2u], gamma[j + 3u]);
  let isThere = vec4<u32>(j, j + 1u, j + 2u, j + 3u) <= vec4<u32>(i);
  return select(vec4<f32>(), exp(min(gamma[i] - gammas, vec4<f32>())), isThere);
}

// (e^(γ_end − γ) K)ᵀ: two rows of it, eight tokens each, at a time.
fn storeKeys(out: u32, end: f32, thread: u32) {
  for (var e = thread; e < KEY_DIM / 2u * (CHUNK / 8u); e += WORKGROUP) {
    let pair = e % (KEY_DIM / 2u);
    let tokens = e / (KEY_DIM / 2u);
    let k$j = exp(end - gamma[8u * tokens + $ju]) * unpack2x16float(pool[(8u * tokens + $ju) * KEY_STRIDE + pair / 4u][pair % 4u]);
    let even = halves8(vec4<f32>(k0.x, k1.x, k2.x, k3.x), vec4<f32>(k4.x, k5.x, k6.x, k7.x));
    let odd = halves8(vec4<f32>(k0.y, k1.y, k2.y, k3.y), vec4<f32>(k4.y, k5.y, k6.y, k7.y));
    operands[out + tileAt(2u * pair, tokens, CHUNK)] = even;
    operands[out + tileAt(2u * pair + 1u, tokens, CHUNK)] = odd;
  }
}

// Entries 4 · column4 … of row i of A or its inverse.
fn entries(i: u32, column4: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(pool[SECOND + i * SQUARE_STRIDE + column4]);
}

// A becomes (I + A)⁻¹: first its blocks of 16 on the diagonal, a row in each thread; then what is below two inverted blocks
// X and Y that meet, −Y A X, until one block is left.
fn invert(thread: u32) {
  let row = min(thread, CHUNK - 1u);
  let block = row / 16u * 16u;
  var t: array<vec4<f32>, 4>;
  t[$vu] = select(vec4<f32>(), vec4<f32>(1.0), vec4<u32>(0u, 1u, 2u, 3u) + 4u * $vu == vec4<u32>(row % 16u));
  // Row x (I + A) = e from its last column to the first: column k is known when its turn comes.
  if (4u * $vu < 15u - $ku) { t[$vu] -= t[(15u - $ku) / 4u][(15u - $ku) % 4u] * entries(block + 15u - $ku, block / 4u + $vu); }
  workgroupBarrier();
  if (thread < CHUNK) { pool[SECOND + row * SQUARE_STRIDE + block / 4u + $vu] = bitcast<vec4<u32>>(t[$vu]); }
  workgroupBarrier();
  for (var size = 16u; size < CHUNK; size *= 2u) {
    let first = thread / (size * size / 4u) * 2u * size;  // of X
    let isInside = first < CHUNK;
    let i = min(first + size + thread % (size * size / 4u) / (size / 4u), CHUNK - 1u);
    let column4 = first / 4u + thread % (size / 4u);
    var x = vec4<f32>();
    if (isInside) { x = combined(i, first, first, column4, size); }
    workgroupBarrier();
    if (isInside) { pool[SECOND + i * SQUARE_STRIDE + column4] = bitcast<vec4<u32>>(x); }
    workgroupBarrier();
    if (isInside) { x = combined(i, first + size, first + size, column4, size); }
    workgroupBarrier();
    if (isInside) { pool[SECOND + i * SQUARE_STRIDE + column4] = bitcast<vec4<u32>>(-x); }
    workgroupBarrier();
  }
}

// Σ_k [i][column + k] · [row + k][4 · column4 …] over k < count.
fn combined(i: u32, column: u32, row: u32, column4: u32, count: u32) -> vec4<f32> {
  var sum = vec4<f32>();
  for (var k = 0u; k < count; k += 4u) {
    let a = entries(i, (column + k) / 4u);
    sum += a.x * entries(row + k, column4) + a.y * entries(row + k + 1u, column4);
    sum += a.z * entries(row + k + 2u, column4) + a.w * entries(row + k + 3u, column4);
  }
  return sum;
}
