// The gated delta rule on GPUs, S in registers from the first token of a sequence to its last, BLOCK tokens at a time. With
// the S before a block, G_i the product of its decays up to token i, and a_i = Sᵀk_i, b_i = Sᵀq_i:
//   d_i = β_i (v_i − G_i a_i − Σ_{j<i} (G_i / G_j) (k_i·k_j) d_j)
//   o_i = G_i b_i + Σ_{j≤i} (G_i / G_j) (q_i·k_j) d_j,   S ← G S + Σ_j (G / G_j) k_j d_jᵀ
// so that all products with S are made at once. TOKENS tokens at a time, half of a workgroup brings and prepares what the other
// half computes with in the turn after. There LANES neighbouring threads share a column of S, each with the keys of PARTS vectors.
// Lines with $p stand for one line per vector of keys, those with $v for one per value that a thread brings, those with $b for one
// per token of a block.

override KEY_HEADS: u32;
override KEY_DIM: u32;
override VALUE_DIM: u32;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;          // [T, q | k | v]
@group(0) @binding(4) var<storage, read_write> state: array<vec4<f32>>;  // [slot][value head][value dim][key dim]
@group(0) @binding(6) var<storage, read_write> y: array<f32>;            // [T, value head, value dim]

const THREADS = 64u;             // of either half
const TOKENS = THREADS / LANES;  // and columns
const VECTORS = PARTS * LANES;   // KEY_DIM / 4

// Twice: of this turn and of the next.
var<workgroup> queries: array<vec4<f32>, 2u * TOKENS * VECTORS>;
var<workgroup> keys: array<vec4<f32>, 2u * TOKENS * VECTORS>;
var<workgroup> values: array<f32, 2u * TOKENS * TOKENS>;  // β v
// Of a token and those of its block, 0 beyond its own: β (G_i / G_j) (k_i·k_j), without its own, and (G_i / G_j) (q_i·k_j).
var<workgroup> corrections: array<vec4<f32>, 2u * TOKENS>;
var<workgroup> mixing: array<vec4<f32>, 2u * TOKENS>;
// (G_i, β G_i, G / G_i, G), G at the block's end.
var<workgroup> decays: array<vec4<f32>, 2u * TOKENS>;
var<workgroup> gatesOf: array<vec2<f32>, TOKENS>;         // e^g, β

@compute @workgroup_size(2u * THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let sequence = group.z;
  if (sequence >= sequenceCount()) { return; }
  let start = sequenceStart(sequence);
  let end = sequenceStart(sequence + 1u);
  let position = positionAt(start);
  if (position == INACTIVE) { return; }

  let head = group.y;
  let keyHead = head / (VALUE_HEADS / KEY_HEADS);
  let rowSize = 2u * KEY_HEADS * VECTORS + VALUE_HEADS * VALUE_DIM / 4u;
  let isBringing = index >= THREADS;
  let thread = index % THREADS;
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
  let rate = negA[head];
  let bias = dtBias[head];
  let block = team / BLOCK * BLOCK;

  var S$p = vec4<f32>();
  if (position > 0u && isInside && !isBringing) {
    S$p = state[stored + $pu * LANES];
  }
  var q$p = vec4<f32>();
  var k$p = vec4<f32>();
  var v$v = 0.0;
  var write = 0.0;
  var decay = 0.0;
  if (isBringing) {
    let row = min(start + team, end - 1u);
    q$p = qkv[row * rowSize + queryAt + $pu * LANES];
    k$p = qkv[row * rowSize + keyAt + $pu * LANES];
    v$v = qkv[row * rowSize + valueAt + value$v / 4u][value$v % 4u];
    write = gates[gatesAt + row * GATES_STRIDE];
    decay = gates[gatesAt + row * GATES_STRIDE + VALUE_HEADS];
  }

  // In turn n tokens n · TOKENS … are brought, and those before them computed with, each in two halves.
  let turns = (end - start + TOKENS - 1u) / TOKENS;
  for (var phase = 0u; phase < 2u * turns + 2u; phase++) {
    let turn = phase / 2u;
    let isSecond = phase % 2u == 1u;
    let first = start + turn * TOKENS;                 // brought
    let there = turn % 2u * TOKENS;
    let here = TOKENS - there;
    let before = max(first, start + TOKENS) - TOKENS;  // computed with
    let count = select(0u, min(TOKENS, end - before), turn > 0u);

    if (isBringing && !isSecond) {
      var squares = vec2<f32>();
      squares += vec2<f32>(dot(k$p, k$p), dot(q$p, q$p));
      let scales = inverseSqrt((laneSum(squares) + 1e-6) * vec2<f32>(1.0, f32(KEY_DIM)));
      // Tokens beyond the last one change nothing.
      let isThere = first + team < end;
      let strength = select(0.0, sigmoidOf(write), isThere);
      k$p = select(0.0, scales.x, isThere) * k$p;
      q$p = scales.y * q$p;
      keys[(there + team) * VECTORS + $pu * LANES + lane] = k$p;
      queries[(there + team) * VECTORS + $pu * LANES + lane] = q$p;
      values[(there + team) * TOKENS + lane + $vu * LANES] = strength * v$v;
      if (lane == 0u) { gatesOf[team] = vec2<f32>(select(1.0, exp(rate * softplus(decay + bias)), isThere), strength); }
    } else if (isBringing) {
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
      let other$b_$p = keys[(there + block + $bu) * VECTORS + $pu * LANES + lane];
      own[$b] += dot(k$p, other$b_$p);
      read[$b] += dot(q$p, other$b_$p);
      // The next ones are on their way from here on.
      let next = min(first + TOKENS + team, end - 1u);
      q$p = qkv[next * rowSize + queryAt + $pu * LANES];
      k$p = qkv[next * rowSize + keyAt + $pu * LANES];
      v$v = qkv[next * rowSize + valueAt + value$v / 4u][value$v % 4u];
      write = gates[gatesAt + next * GATES_STRIDE];
      decay = gates[gatesAt + next * GATES_STRIDE + VALUE_HEADS];
      own = laneSum4(own);
      read = laneSum4(read);
      if (lane == 0u) {
        let strength = gatesOf[team].y;
        let isBefore = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(team - block);
        let isUpTo = vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(team - block);
        corrections[there + team] = select(vec4<f32>(), strength * since * own, isBefore);
        mixing[there + team] = select(vec4<f32>(), since * read, isUpTo);
        decays[there + team] = vec4<f32>(until, strength * until, after, until * after);
      }
    } else {
      for (var t = select(0u, TOKENS / 2u, isSecond); t < select(min(count, TOKENS / 2u), count, isSecond); t += BLOCK) {
        var a = vec4<f32>();
        var b = vec4<f32>();
        let key$b_$p = keys[(here + t + $bu) * VECTORS + $pu * LANES + lane];
        a[$b] += dot(key$b_$p, S$p);
        b[$b] += dot(queries[(here + t + $bu) * VECTORS + $pu * LANES + lane], S$p);
        a = laneSum4(a);
        b = laneSum4(b);
        var d = vec4<f32>();
        let decay$b = decays[here + t + $bu];
        d[$b] = values[(here + t + $bu) * TOKENS + team] - decay$b.y * a[$b] - dot(corrections[here + t + $bu], d);
        var o = vec4<f32>();
        o[$b] = decay$b.x * b[$b] + dot(mixing[here + t + $bu], d);
        for (var i = lane; i < min(BLOCK, count - t); i += LANES) {
          if (isInside) { y[((before + t + i) * VALUE_HEADS + head) * VALUE_DIM + column] = o[i]; }
        }
        S$p *= decay0.w;
        S$p += (decay$b.z * d[$b]) * key$b_$p;
      }
    }
    workgroupBarrier();
  }

  if (isInside && !isBringing) {
    state[stored + $pu * LANES] = S$p;
  }
}

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
