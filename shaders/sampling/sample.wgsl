// Draws a token: the largest logit, or one of those that top-k, top-p and min-p leave, by the inverse of their cumulative
// distribution in the order of ids. Thresholds are found digit by digit from histograms of the logits' bits, so nothing
// is sorted. Probability mass is counted in whole units of 2^-31, which makes sums independent of their order.
// One workgroup per sequence.

override VOCABULARY: u32;
override GROUPS: u32;

@group(0) @binding(0) var<storage, read> processed: array<f32>;       // [sequences, VOCABULARY]
@group(0) @binding(1) var<storage, read> partials: array<u32>;        // [sequences, GROUPS, (max, its id, finite, 0)]
@group(0) @binding(2) var<storage, read> params: array<u32>;          // [sequences, PARAM_WORDS]
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;    // [sequences, VOCABULARY]
@group(0) @binding(4) var<storage, read_write> results: array<u32>;   // [sequences, (token, status, finite, 0)]

const WORKGROUP = 256u;
const LOWEST = -3.0e38;
const UNIT = 2147483648.0;
const EVERY = 0xffffffffu;

// What a draw keeps: all keys above `key`, and the first `ties` ids whose key equals it.
struct Threshold { key: u32, ties: u32 }

var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> sharedWord: u32;
var<workgroup> sharedRest: u32;
var<workgroup> sums: array<f32, WORKGROUP>;
var<workgroup> tieCounts: array<u32, WORKGROUP>;

// Orders floats as unsigned integers.
fn keyOf(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn valueOf(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

// The sum of `value` over the workgroup, in a fixed order.
fn total(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  sums[lane] = value;
  for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) { sums[lane] += sums[lane + step]; }
  }
  workgroupBarrier();
  return sums[0];
}

fn kept(key: u32, limit: Threshold) -> bool { return key >= limit.key; }

// The threshold at which the keys kept within `limit` reach `wanted`: counted in ids, or in units of probability if
// `byMass`, where a logit l weighs scale · exp(l − top).
fn threshold(base: u32, lane: u32, limit: Threshold, wanted: u32, byMass: bool, top: f32, scale: f32) -> Threshold {
  var prefix = 0u;
  var mask = 0u;
  var rest = wanted;
  for (var digit = 0u; digit < 4u; digit++) {
    let shift = 24u - 8u * digit;
    workgroupBarrier();
    atomicStore(&histogram[lane], 0u);
    workgroupBarrier();
    for (var id = lane; id < VOCABULARY; id += WORKGROUP) {
      let value = processed[base + id];
      let key = keyOf(value);
      if (kept(key, limit) && (key & mask) == prefix) {
        var weight = 1u;
        if (byMass) { weight = u32(scale * exp(value - top)); }
        atomicAdd(&histogram[(key >> shift) & 255u], weight);
      }
    }
    workgroupBarrier();
    if (lane == 0u) {
      var chosen = 0u;
      var above = 0u;
      var sum = 0u;
      for (var i = 0u; i < 256u; i++) {
        let bin = 255u - i;
        let amount = atomicLoad(&histogram[bin]);
        if (amount > 0u) { chosen = bin; above = sum; }
        sum += amount;
        if (sum >= rest) { break; }
      }
      sharedWord = prefix | (chosen << shift);
      sharedRest = rest - min(rest, above);
    }
    prefix = workgroupUniformLoad(&sharedWord);
    rest = workgroupUniformLoad(&sharedRest);
    mask |= 255u << shift;
  }
  if (!byMass) { return Threshold(prefix, rest); }
  let each = max(1u, u32(scale * exp(valueOf(prefix) - top)));
  return Threshold(prefix, max(1u, (rest + each - 1u) / each));
}

fn stricter(a: Threshold, b: Threshold) -> Threshold {
  if (a.key == b.key) { return Threshold(a.key, min(a.ties, b.ties)); }
  if (a.key > b.key) { return a; }
  return b;
}

// Sum of exp(l − top) over what is kept: strictly above the key, and its ties.
fn keptMass(base: u32, lane: u32, limit: Threshold, top: f32) -> f32 {
  var mass = 0.0;
  for (var id = lane; id < VOCABULARY; id += WORKGROUP) {
    let value = processed[base + id];
    if (keyOf(value) > limit.key) { mass += exp(value - top); }
  }
  let strict = total(mass, lane);
  if (limit.ties == EVERY) { return strict; }
  return strict + f32(limit.ties) * exp(valueOf(limit.key) - top);
}

fn draw(sequence: u32, base: u32, lane: u32, top: f32) -> u32 {
  let at = sequence * PARAM_WORDS;
  let topK = params[at + 1u];
  let topP = bitcast<f32>(params[at + 2u]);
  let minP = bitcast<f32>(params[at + 3u]);

  var limit = Threshold(0u, EVERY);
  if (topK > 0u && topK < VOCABULARY) { limit = threshold(base, lane, limit, topK, false, top, 0.0); }
  if (topP < 1.0) {
    let scale = UNIT / keptMass(base, lane, limit, top);
    limit = stricter(limit, threshold(base, lane, limit, max(1u, u32(topP * UNIT)), true, top, scale));
  }
  if (minP > 0.0) { limit = stricter(limit, Threshold(keyOf(min(top, top + log(minP))), EVERY)); }

  // Each lane owns a run of ids; ties go to the lowest ids.
  let run = (VOCABULARY + WORKGROUP - 1u) / WORKGROUP;
  let begin = min(lane * run, VOCABULARY);
  let end = min(begin + run, VOCABULARY);
  var mass = 0.0;
  var ties = 0u;
  for (var id = begin; id < end; id++) {
    let value = processed[base + id];
    let key = keyOf(value);
    if (key > limit.key) { mass += exp(value - top); }
    if (key == limit.key) { ties++; }
  }
  tieCounts[lane] = ties;
  workgroupBarrier();
  var tiesBefore = 0u;
  for (var i = 0u; i < lane; i++) { tiesBefore += tieCounts[i]; }
  let tiesHere = min(ties, limit.ties - min(limit.ties, tiesBefore));
  // Without ties the key may be none of a number.
  if (tiesHere > 0u) { mass += f32(tiesHere) * exp(valueOf(limit.key) - top); }
  workgroupBarrier();
  sums[lane] = mass;
  workgroupBarrier();
  var before = 0.0;
  var whole = 0.0;
  var lastLane = 0u;
  for (var i = 0u; i < WORKGROUP; i++) {
    if (i == lane) { before = whole; }
    whole += sums[i];
    if (sums[i] > 0.0) { lastLane = i; }
  }
  let goal = randomAt(params[at + 7u], params[at + DRAWN]) * whole;

  workgroupBarrier();
  if (lane == lastLane) { sharedWord = EVERY; }
  workgroupBarrier();
  // The lane whose run holds the goal; the last one with any mass if rounding puts the goal past the end.
  if (mass > 0.0 && goal >= before && (goal < before + mass || lane == lastLane)) {
    var sum = before;
    var left = tiesHere;
    var token = begin;
    for (var id = begin; id < end; id++) {
      let value = processed[base + id];
      let key = keyOf(value);
      if (key < limit.key || (key == limit.key && left == 0u)) { continue; }
      if (key == limit.key) { left--; }
      let weight = exp(value - top);
      if (weight <= 0.0) { continue; }
      token = id;
      sum += weight;
      if (goal < sum) { break; }
    }
    sharedWord = token;
  }
  return workgroupUniformLoad(&sharedWord);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sequence = group.x;
  let base = sequence * VOCABULARY;
  if (sequence >= sequenceCount() || positionAt(sequenceStart(sequence + 1u) - 1u) == INACTIVE) {
    if (lane == 0u) { results[sequence * 4u + 1u] = IDLE; }
    return;
  }
  var top = LOWEST;
  var token = 0u;
  var finite = 1u;
  for (var g = 0u; g < GROUPS; g++) {
    let at = (sequence * GROUPS + g) * 4u;
    let value = bitcast<f32>(partials[at]);
    if (value > top) { top = value; token = partials[at + 1u]; }
    finite &= partials[at + 2u];
  }
  let temperature = bitcast<f32>(params[sequence * PARAM_WORDS]);
  if (temperature > 0.0 && params[sequence * PARAM_WORDS + 1u] != 1u) { token = draw(sequence, base, lane, top); }
  if (lane == 0u) {
    results[sequence * 4u] = min(token, VOCABULARY - 1u);
    results[sequence * 4u + 1u] = RUNNING;
    results[sequence * 4u + 2u] = finite;
    counts[base + min(token, VOCABULARY - 1u)] += 1u;
  }
}
