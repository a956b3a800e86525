// The gated delta rule on GPUs, S in registers from the first token of a sequence to its last, BLOCK tokens at a time. With
// the S before a block, G_i the product of its decays up to token i, and a_i = Sᵀk_i, b_i = Sᵀq_i:
//   d_i = β_i (v_i − G_i a_i − Σ_{j<i} (G_i / G_j) (k_i·k_j) d_j)
//   o_i = G_i b_i + Σ_{j≤i} (G_i / G_j) (q_i·k_j) d_j,   S ← G S + Σ_j (G / G_j) k_j d_jᵀ
// so that all products with S are made at once. LANES neighbouring threads share a column of S, each with the keys of PARTS
// vectors. TOKENS tokens are brought to workgroup memory together, q and k normalised, and those after them are on their way
// meanwhile. Lines with $p stand for one line per vector of keys, those with $v for one per value that a thread brings, those with
// $b for one per token of a block.

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
var<workgroup> gatesOf: array<vec2<f32>, TOKENS>;     // e^g, β
// Of a token and those of its block, 0 beyond its own: β (G_i / G_j) (k_i·k_j), without its own, and (G_i / G_j) (q_i·k_j).
var<workgroup> corrections: array<vec4<f32>, TOKENS>;
var<workgroup> mixing: array<vec4<f32>, TOKENS>;
// (Gᵢ, β Gᵢ, G / Gᵢ, G), G at the block's end.
var<workgroup> decays: array<vec4<f32>, TOKENS>;

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
  let gatesAt = GATES_OFFSET + head;
  let base = team * VECTORS + lane;  // of the token it brings
  let block = team / BLOCK * BLOCK;  // and of its block's first

  var S$p = vec4<f32>();
  if (position > 0u && isInside) {
    S$p = state[stored + $pu * LANES];
  }

  let row = min(start + team, end - 1u);
  var q$p = qkv[row * rowSize + queryAt + $pu * LANES];
  var k$p = qkv[row * rowSize + keyAt + $pu * LANES];
  var v$v = qkv[row * rowSize + valueAt + value$v / 4u][value$v % 4u];
  var write = gates[gatesAt + row * GATES_STRIDE];
  var decay = gates[gatesAt + row * GATES_STRIDE + VALUE_HEADS];
  for (var first = start; first < end; first += TOKENS) {
    let count = min(TOKENS, end - first);
    var squares = vec2<f32>();
    squares += vec2<f32>(dot(k$p, k$p), dot(q$p, q$p));
    let scales = inverseSqrt((laneSum(squares) + 1e-6) * vec2<f32>(1.0, f32(KEY_DIM)));
    // Tokens beyond the last one change nothing.
    let isThere = team < count;
    let keyScale = select(0.0, scales.x, isThere);
    workgroupBarrier();
    k$p = keyScale * k$p;
    q$p = scales.y * q$p;
    keys[base + $pu * LANES] = k$p;
    queries[base + $pu * LANES] = q$p;
    values[team * TOKENS + lane + $vu * LANES] = v$v;
    if (lane == 0u) { gatesOf[team] = vec2<f32>(select(1.0, decayOf(decay, head), isThere), select(0.0, sigmoidOf(write), isThere)); }
    workgroupBarrier();

    // Products with the tokens of its block, and decays from each of them on.
    var since = vec4<f32>();
    var until = 1.0;
    var after = 1.0;
    for (var j = 0u; j < BLOCK; j++) {
      let e = gatesOf[block + j].x;
      if (block + j <= team) {
        since = select(since * e, vec4<f32>(1.0), vec4<u32>(j) == vec4<u32>(0u, 1u, 2u, 3u));
        until *= e;
      } else {
        after *= e;
      }
    }
    var own = vec4<f32>();
    var read = vec4<f32>();
    let other$b_$p = keys[(block + $bu) * VECTORS + $pu * LANES + lane];
    own[$b] += dot(k$p, other$b_$p);
    read[$b] += dot(q$p, other$b_$p);
    own = laneSum4(own);
    read = laneSum4(read);
    let before = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(team - block);
    let upTo = vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(team - block);
    if (lane == 0u) {
      let strength = gatesOf[team].y;
      corrections[team] = select(vec4<f32>(), strength * since * own, before);
      mixing[team] = select(vec4<f32>(), since * read, upTo);
      decays[team] = vec4<f32>(until, strength * until, after, until * after);
    }
    workgroupBarrier();

    let next = min(first + TOKENS + team, end - 1u);
    q$p = qkv[next * rowSize + queryAt + $pu * LANES];
    k$p = qkv[next * rowSize + keyAt + $pu * LANES];
    v$v = qkv[next * rowSize + valueAt + value$v / 4u][value$v % 4u];
    write = gates[gatesAt + next * GATES_STRIDE];
    decay = gates[gatesAt + next * GATES_STRIDE + VALUE_HEADS];

    for (var t = 0u; t < count; t += BLOCK) {
      var a = vec4<f32>();
      var b = vec4<f32>();
      let key$b_$p = keys[(t + $bu) * VECTORS + $pu * LANES + lane];
      a[$b] += dot(key$b_$p, S$p);
      b[$b] += dot(queries[(t + $bu) * VECTORS + $pu * LANES + lane], S$p);
      a = laneSum4(a);
      b = laneSum4(b);
      var d = vec4<f32>();
      let decay$b = decays[t + $bu];
      d[$b] = gatesOf[t + $bu].y * values[(t + $bu) * TOKENS + team] - decay$b.y * a[$b] - dot(corrections[t + $bu], d);
      var o = vec4<f32>();
      o[$b] = decay$b.x * b[$b] + dot(mixing[t + $bu], d);
      for (var i = lane; i < min(BLOCK, count - t); i += LANES) {
        if (isInside) { y[((first + t + i) * VALUE_HEADS + head) * VALUE_DIM + column] = o[i]; }
      }
      S$p *= decay0.w;
      S$p += (decay$b.z * d[$b]) * key$b_$p;
    }
  }

  if (isInside) {
    state[stored + $pu * LANES] = S$p;
  }
}

fn decayOf(a: f32, head: u32) -> f32 { return exp(negA[head] * softplus(a + dtBias[head])); }

fn sigmoidOf(b: f32) -> f32 { return 1.0 / (1.0 + exp(clamp(-b, -80.0, 80.0))); }

// Over the LANES neighbouring threads of a team; LANES is a power of two that divides every subgroup.
fn laneSum(value: vec2<f32>) -> vec2<f32> {
  var sum = value;
  for (var step = 1u; step < LANES; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  return sum;
}

fn laneSum4(value: vec4<f32>) -> vec4<f32> {
  var sum = value;
  for (var step = 1u; step < LANES; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  return sum;
}
