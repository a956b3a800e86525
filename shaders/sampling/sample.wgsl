// Draws a token: the largest logit, or one of those that top-k, top-p and min-p leave, by the inverse of their cumulative
// distribution in the order of ids. Thresholds are found digit by digit from histograms of the logits' bits, so nothing
// is sorted. Probability mass is counted in whole units of 2^-31, which makes sums independent of their order.
// With top-k, only the segments whose maximum is among the k largest maxima can hold what is kept; from them a list of
// logits, in the order of ids, stands for all. One workgroup per sequence.

override VOCABULARY: u32;
override GROUPS: u32;

@group(0) @binding(0) var<storage, read> processed: array<f32>;       // [sequences, VOCABULARY]
@group(0) @binding(1) var<storage, read> partials: array<u32>;        // [sequences, GROUPS, (max, its id, finite, 0)]
@group(0) @binding(2) var<storage, read> params: array<u32>;          // [slots, PARAM_WORDS]
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;    // [slots, VOCABULARY]
@group(0) @binding(4) var<storage, read_write> results: array<u32>;   // [sequences, RESULT_WORDS]: token, status,
                                                                      // finite, logits drawn from, slot, position
@group(0) @binding(6) var<storage, read> maxima: array<f32>;          // [sequences, GROUPS · PER_GROUP]

const UNIT = 2147483648.0;
const EVERY = 0xffffffffu;
// Segments in a group of process-logits.
const PER_GROUP = 8u * WORKGROUP / SEGMENT;
// Enough for the usual top-k; beyond that all logits are looked at.
const MAX_HOT = max(64u, WORKGROUP);
const MAX_LISTED = 2u * MAX_HOT;
// A thread to each value of a digit.
const DIGIT_BITS = firstTrailingBit(WORKGROUP);

// Logits to choose from: all of a sequence's, its segments' maxima, or the list.
struct Choice { kind: u32, base: u32, count: u32 }

const ALL = 0u;
const MAXIMA = 1u;
const LIST = 2u;

// What a draw keeps: all keys above `key`, and the first `ties` ids whose key equals it.
struct Threshold { key: u32, ties: u32 }

const NO_THRESHOLD = Threshold(0u, EVERY);

var<workgroup> histogram: array<atomic<u32>, WORKGROUP>;
var<workgroup> sharedWord: u32;
var<workgroup> sharedRest: u32;
var<workgroup> sums: array<f32, WORKGROUP>;
var<workgroup> hot: array<u32, MAX_HOT>;
var<workgroup> listed: array<f32, MAX_LISTED>;
var<workgroup> listedId: array<u32, MAX_LISTED>;

fn logitAt(choice: Choice, i: u32) -> f32 {
  if (choice.kind == LIST) { return listed[i]; }
  if (choice.kind == MAXIMA) { return maxima[choice.base + i]; }
  return processed[choice.base + i];
}

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

// What a logit weighs where thresholds count units of probability. Scale 0 stands for counting logits.
fn weightOf(value: f32, top: f32, scale: f32) -> u32 {
  if (scale == 0.0) { return 1u; }
  return u32(scale * exp(value - top));
}

// The threshold at which the keys that `limit` keeps reach `wanted`.
fn threshold(choice: Choice, lane: u32, limit: Threshold, wanted: u32, top: f32, scale: f32) -> Threshold {
  var prefix = 0u;
  var mask = 0u;
  var rest = wanted;
  for (var digit = 1u; digit <= 32u / DIGIT_BITS; digit++) {
    let shift = 32u - DIGIT_BITS * digit;
    workgroupBarrier();
    atomicStore(&histogram[lane], 0u);
    workgroupBarrier();
    // Ties beyond the limit must not count, so they are not counted one by one.
    if (lane == 0u && limit.ties != EVERY && (limit.key & mask) == prefix) {
      let weight = limit.ties * weightOf(valueOf(limit.key), top, scale);
      atomicAdd(&histogram[(limit.key >> shift) & (WORKGROUP - 1u)], weight);
    }
    for (var i = lane; i < choice.count; i += WORKGROUP) {
      let value = logitAt(choice, i);
      let key = keyOf(value);
      if (key > limit.key && (key & mask) == prefix) {
        atomicAdd(&histogram[(key >> shift) & (WORKGROUP - 1u)], weightOf(value, top, scale));
      }
    }
    workgroupBarrier();
    let bin = WORKGROUP - 1u - lane;
    let amount = atomicLoad(&histogram[bin]);
    let reached = runningSum(amount, lane);
    // Rounding may leave the whole short of what is wanted.
    let goal = min(rest, runningSums[WORKGROUP - 1u]);
    if (reached >= goal && reached - amount < goal) {
      sharedWord = prefix | (bin << shift);
      sharedRest = goal - (reached - amount);
    }
    prefix = workgroupUniformLoad(&sharedWord);
    rest = workgroupUniformLoad(&sharedRest);
    mask |= (WORKGROUP - 1u) << shift;
  }
  let each = max(1u, weightOf(valueOf(prefix), top, scale));
  return Threshold(prefix, max(1u, (rest + each - 1u) / each));
}

fn stricter(a: Threshold, b: Threshold) -> Threshold {
  if (a.key == b.key) { return Threshold(a.key, min(a.ties, b.ties)); }
  if (a.key > b.key) { return a; }
  return b;
}

// Lists what may be among the topK largest logits; all of them if that is too much for the list.
fn shortlist(sequence: u32, lane: u32, topK: u32) -> Choice {
  let everything = Choice(ALL, sequence * VOCABULARY, VOCABULARY);
  let segments = Choice(MAXIMA, sequence * GROUPS * PER_GROUP, GROUPS * PER_GROUP);
  if (topK > segments.count) { return everything; }
  // At least topK logits are as large as this.
  let lowest = threshold(segments, lane, NO_THRESHOLD, topK, 0.0, 0.0).key;

  let run = (segments.count + WORKGROUP - 1u) / WORKGROUP;
  let end = min((lane + 1u) * run, segments.count);
  var mine = 0u;
  for (var i = lane * run; i < end; i++) { mine += u32(keyOf(logitAt(segments, i)) >= lowest); }
  var position = runningSum(mine, lane) - mine;
  let hotCount = workgroupUniformLoad(&runningSums[WORKGROUP - 1u]);
  if (hotCount > MAX_HOT) { return everything; }
  for (var i = lane * run; i < end; i++) {
    if (keyOf(logitAt(segments, i)) >= lowest) {
      hot[position] = i;
      position++;
    }
  }
  workgroupBarrier();

  let share = (hotCount * SEGMENT + WORKGROUP - 1u) / WORKGROUP;
  let last = min((lane + 1u) * share, hotCount * SEGMENT);
  mine = 0u;
  for (var i = lane * share; i < last; i++) {
    let id = hot[i / SEGMENT] * SEGMENT + i % SEGMENT;
    if (id < VOCABULARY) { mine += u32(keyOf(logitAt(everything, id)) >= lowest); }
  }
  position = runningSum(mine, lane) - mine;
  let count = workgroupUniformLoad(&runningSums[WORKGROUP - 1u]);
  if (count > MAX_LISTED) { return everything; }
  for (var i = lane * share; i < last; i++) {
    let id = hot[i / SEGMENT] * SEGMENT + i % SEGMENT;
    if (id >= VOCABULARY) { break; }
    let value = logitAt(everything, id);
    if (keyOf(value) >= lowest) {
      listed[position] = value;
      listedId[position] = id;
      position++;
    }
  }
  workgroupBarrier();
  return Choice(LIST, 0u, count);
}

// Sum of exp(l − top) over what is kept: strictly above the key, and its ties.
fn keptMass(choice: Choice, lane: u32, limit: Threshold, top: f32) -> f32 {
  var mass = 0.0;
  for (var i = lane; i < choice.count; i += WORKGROUP) {
    let value = logitAt(choice, i);
    if (keyOf(value) > limit.key) { mass += exp(value - top); }
  }
  let strict = total(mass, lane);
  if (limit.ties == EVERY) { return strict; }
  return strict + f32(limit.ties) * exp(valueOf(limit.key) - top);
}

fn draw(sequence: u32, lane: u32, top: f32) -> u32 {
  let at = stateSlot(sequence) * PARAM_WORDS;
  let topK = params[at + 1u];
  let topP = bitcast<f32>(params[at + 2u]);
  let minP = bitcast<f32>(params[at + 3u]);

  var choice = Choice(ALL, sequence * VOCABULARY, VOCABULARY);
  var limit = NO_THRESHOLD;
  if (topK > 0u && topK < VOCABULARY) {
    choice = shortlist(sequence, lane, topK);
    limit = threshold(choice, lane, NO_THRESHOLD, topK, top, 0.0);
  }
  if (topP < 1.0) {
    let scale = UNIT / keptMass(choice, lane, limit, top);
    limit = stricter(limit, threshold(choice, lane, limit, max(1u, u32(topP * UNIT)), top, scale));
  }
  if (minP > 0.0) { limit = stricter(limit, Threshold(keyOf(min(top, top + log(minP))), EVERY)); }

  if (lane == 0u) { results[sequence * RESULT_WORDS + 3u] = choice.count; }

  // Each lane owns a run, in the order of ids; ties go to the lowest ids.
  let run = (choice.count + WORKGROUP - 1u) / WORKGROUP;
  let begin = min(lane * run, choice.count);
  let end = min(begin + run, choice.count);
  var mass = 0.0;
  var ties = 0u;
  for (var i = begin; i < end; i++) {
    let value = logitAt(choice, i);
    let key = keyOf(value);
    if (key > limit.key) { mass += exp(value - top); }
    if (key == limit.key) { ties++; }
  }
  let tiesBefore = runningSum(ties, lane) - ties;
  let tiesHere = min(ties, limit.ties - min(limit.ties, tiesBefore));
  // Without a limit its key stands for no number.
  if (tiesHere > 0u) { mass += f32(tiesHere) * exp(valueOf(limit.key) - top); }
  workgroupBarrier();
  sums[lane] = mass;
  workgroupBarrier();
  // One after the other, so that one lane's end is exactly the next one's beginning.
  var before = 0.0;
  var whole = 0.0;
  var lastLane = 0u;
  for (var i = 0u; i * run < choice.count; i++) {
    if (i == lane) { before = whole; }
    whole += sums[i];
    if (sums[i] > 0.0) { lastLane = i; }
  }
  let goal = randomAt(params[at + 7u], params[at + DRAWN]) * whole;

  if (lane == lastLane) { sharedWord = EVERY; }
  workgroupBarrier();
  // The lane whose run holds the goal; the last one with any mass if rounding puts the goal past the end.
  if (mass > 0.0 && goal >= before && (goal < before + mass || lane == lastLane)) {
    var sum = before;
    var left = tiesHere;
    var token = begin;
    for (var i = begin; i < end; i++) {
      let value = logitAt(choice, i);
      let key = keyOf(value);
      if (key < limit.key || (key == limit.key && left == 0u)) { continue; }
      if (key == limit.key) { left--; }
      let weight = exp(value - top);
      if (weight <= 0.0) { continue; }
      token = i;
      sum += weight;
      if (goal < sum) { break; }
    }
    sharedWord = token;
    if (choice.kind == LIST) { sharedWord = listedId[token]; }
  }
  return workgroupUniformLoad(&sharedWord);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sequence = group.x;
  if (sequence >= drawCount()) { return; }
  let slot = stateSlot(sequence);
  let position = positionAt(sequenceStart(sequence + 1u) - 1u);
  let result = sequence * RESULT_WORDS;
  if (lane == 0u) {
    results[result + 4u] = slot;
    results[result + 5u] = position;
  }
  if (position == INACTIVE) {
    if (lane == 0u) { results[result + 1u] = IDLE; }
    return;
  }
  var value = LOWEST;
  var id = 0u;
  var finite = 1u;
  for (var g = lane; g < GROUPS; g += WORKGROUP) {
    let at = (sequence * GROUPS + g) * 4u;
    if (bitcast<f32>(partials[at]) > value) {
      value = bitcast<f32>(partials[at]);
      id = partials[at + 1u];
    }
    finite &= partials[at + 2u];
  }
  keepBest(lane, value, id, finite);
  for (var step = 1u; step < WORKGROUP; step *= 2u) { mergeBest(lane, step); }
  let top = workgroupUniformLoad(&best[0]);
  var token = bestId[0];
  let temperature = bitcast<f32>(params[slot * PARAM_WORDS]);
  if (temperature > 0.0 && params[slot * PARAM_WORDS + 1u] != 1u) { token = draw(sequence, lane, top); }
  if (lane == 0u) {
    token = min(token, VOCABULARY - 1u);
    results[result] = token;
    results[result + 1u] = RUNNING;
    results[result + 2u] = isFinite[0];
    counts[slot * VOCABULARY + token] += 1u;
  }
}
