// The gated delta rule token by token on GPUs, S in registers from the first token of a sequence to its last:
//   a = Sᵀk, b = Sᵀq (of the old S);  d = β (v − e^g a);  o = e^g b + (q·k) d;  S ← e^g S + k dᵀ
// LANES neighbouring threads share a column of S, each with the keys of PARTS vectors. TOKENS tokens at a time are brought to
// workgroup memory, q and k normalised; those after them are on their way meanwhile, so that a token waits for no memory
// but that, and for one sum over lanes. Lines with $p stand for one line per vector of keys, those with $v for one per value
// that a thread brings.

override KEY_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;          // [T, q | k | v]
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(6) var<storage, read_write> y: array<f32>;            // [T, value head, value dim]

const WORKGROUP = 64u;
const TOKENS = WORKGROUP / LANES;  // and columns
const VECTORS = PARTS * LANES;     // KEY_DIM / 4

var<workgroup> queries: array<vec4<f32>, TOKENS * VECTORS>;
var<workgroup> keys: array<vec4<f32>, TOKENS * VECTORS>;
var<workgroup> values: array<f32, TOKENS * TOKENS>;
var<workgroup> gatesOf: array<vec4<f32>, TOKENS>;  // e^g, β, q·k

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
  let rowSize = 2u * KEY_HEADS * VECTORS + VALUE_HEADS * VALUE_DIM / 4u;
  let lane = thread % LANES;
  let team = thread / LANES;  // a token while bringing, a column while computing
  let column = group.x * TOKENS + team;
  let isInside = column < VALUE_DIM;
  let stored = ((stateSlot(sequence) * VALUE_HEADS + head) * VALUE_DIM + column) * VECTORS + lane;
  // Of what is brought, without its row.
  let queryAt = keyHead * VECTORS + lane;
  let keyAt = (KEY_HEADS + keyHead) * VECTORS + lane;
  let valueAt = 2u * KEY_HEADS * VECTORS + head * VALUE_DIM / 4u;
  let value$v = min(group.x * TOKENS + lane + $vu * LANES, VALUE_DIM - 1u);

  var S$p = vec4<f32>();
  if (position > 0u && isInside) {
    S$p = state[stored + $pu * LANES];
  }

  let row = min(start + team, end - 1u);
  var q$p = qkv[row * rowSize + queryAt + $pu * LANES];
  var k$p = qkv[row * rowSize + keyAt + $pu * LANES];
  var v$v = qkv[row * rowSize + valueAt + value$v / 4u][value$v % 4u];
  var decay = logDecay(row, head);
  var strength = writeStrength(row, head);
  for (var first = start; first < end; first += TOKENS) {
    var squares = vec2<f32>();
    var product = 0.0;
    squares += vec2<f32>(dot(k$p, k$p), dot(q$p, q$p));
    product += dot(q$p, k$p);
    product = laneSum(vec2<f32>(product, 0.0)).x;
    let scales = inverseSqrt((laneSum(squares) + 1e-6) * vec2<f32>(1.0, f32(KEY_DIM)));
    workgroupBarrier();
    keys[team * VECTORS + $pu * LANES + lane] = scales.x * k$p;
    queries[team * VECTORS + $pu * LANES + lane] = scales.y * q$p;
    values[team * TOKENS + lane + $vu * LANES] = v$v;
    if (lane == 0u) { gatesOf[team] = vec4<f32>(exp(decay), strength, scales.x * scales.y * product, 0.0); }
    workgroupBarrier();

    let next = min(first + TOKENS + team, end - 1u);
    q$p = qkv[next * rowSize + queryAt + $pu * LANES];
    k$p = qkv[next * rowSize + keyAt + $pu * LANES];
    v$v = qkv[next * rowSize + valueAt + value$v / 4u][value$v % 4u];
    decay = logDecay(next, head);
    strength = writeStrength(next, head);
    let count = min(TOKENS, end - first);
    for (var t = 0u; t < count; t++) {
      let at = t * VECTORS + lane;
      let gate = gatesOf[t];
      let key$p = keys[at + $pu * LANES];
      var sums = vec2<f32>();  // a, b
      sums += vec2<f32>(dot(key$p, S$p), dot(queries[at + $pu * LANES], S$p));
      sums = gate.x * laneSum(sums);
      let d = gate.y * (values[t * TOKENS + team] - sums.x);
      if (lane == 0u && isInside) { y[((first + t) * VALUE_HEADS + head) * VALUE_DIM + column] = sums.y + gate.z * d; }
      S$p = gate.x * S$p + d * key$p;
    }
  }

  if (isInside) {
    state[stored + $pu * LANES] = S$p;
  }
}

// Over the LANES neighbouring threads of a team; LANES is a power of two that divides every subgroup.
fn laneSum(value: vec2<f32>) -> vec2<f32> {
  var sum = value;
  for (var step = 1u; step < LANES; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  return sum;
}
