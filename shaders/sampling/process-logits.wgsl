// What a request does to the logits before a token is drawn: bias, repetition penalty, presence and frequency penalty,
// temperature, and a mask of the tokens that may be drawn. Each workgroup also leaves its largest result, and the largest of every SEGMENT neighbours, so that a
// draw need not look at all logits again. Grid: [GROUPS, sequences].

override VOCABULARY: u32;
override GROUPS: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;            // [sequences, VOCABULARY]
@group(0) @binding(1) var<storage, read> params: array<u32>;            // [slots, PARAM_WORDS]
@group(0) @binding(2) var<storage, read> counts: array<u32>;            // [slots, VOCABULARY]
@group(0) @binding(3) var<storage, read> bias: array<u32>;              // [slots, f32 a token | a bit a token: it may be drawn]
@group(0) @binding(4) var<storage, read_write> processed: array<f32>;   // [sequences, VOCABULARY]
@group(0) @binding(7) var<storage, read_write> partials: array<u32>;    // [sequences, GROUPS, (max, its id, finite, 0)]
@group(0) @binding(6) var<storage, read_write> maxima: array<f32>;      // [sequences, GROUPS · WORKGROUP / TEAM]

// Threads that read a segment, 8 logits each.
const TEAM = SEGMENT / 8u;

// Read once a thread: loads cost as much as all else that is done to a logit.
struct Change { presence: f32, frequency: f32, repetition: f32, temperature: f32 }

fn changeOf(base: u32) -> Change {
  return Change(
    bitcast<f32>(params[base + 4u]), bitcast<f32>(params[base + 5u]), bitcast<f32>(params[base + 6u]),
    bitcast<f32>(params[base]));
}

fn changed(logit: f32, seen: u32, by: Change) -> f32 {
  let count = f32(seen & 0x7fffffffu);
  var value = logit;
  if (seen != 0u) { value = select(value / by.repetition, value * by.repetition, value < 0.0); }
  if (count > 0.0) { value -= by.presence + count * by.frequency; }
  return select(value, value / by.temperature, by.temperature > 0.0);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sequence = group.y;
  if (sequence >= drawCount()) { return; }
  let slot = stateSlot(sequence);
  let base = slot * PARAM_WORDS;
  let biases = slot * (VOCABULARY + (VOCABULARY + 31u) / 32u);
  let isMasked = params[base + MASKED] != 0u;
  let change = changeOf(base);
  let segment = group.x * (WORKGROUP / TEAM) + lane / TEAM;
  var top = LOWEST;
  var topId = min(segment * SEGMENT, VOCABULARY - 1u);
  var finite = 1u;
  for (var i = 0u; i < 8u; i++) {
    let id = segment * SEGMENT + i * TEAM + lane % TEAM;
    if (id >= VOCABULARY) { break; }
    let logit = logits[sequence * VOCABULARY + id];
    // By its bits, because arithmetic on what is not a number may be assumed away.
    if ((bitcast<u32>(logit) & 0x7f800000u) == 0x7f800000u) { finite = 0u; }
    let biased = logit + bitcast<f32>(bias[biases + id]);
    var value = clamp(changed(biased, counts[slot * VOCABULARY + id], change), LOWEST, -LOWEST);
    if (isMasked && ((bias[biases + VOCABULARY + id / 32u] >> (id % 32u)) & 1u) == 0u) { value = LOWEST; }
    processed[sequence * VOCABULARY + id] = value;
    if (value > top) { top = value; topId = id; }
  }
  keepBest(lane, top, topId, finite);
  var step = 1u;
  for (; step < TEAM; step *= 2u) { mergeBest(lane, step); }
  if (lane % TEAM == 0u) { maxima[sequence * GROUPS * (WORKGROUP / TEAM) + segment] = best[lane]; }
  for (; step < WORKGROUP; step *= 2u) { mergeBest(lane, step); }
  if (lane == 0u) {
    let at = (sequence * GROUPS + group.x) * 4u;
    partials[at] = bitcast<u32>(best[0]);
    partials[at + 1u] = bestId[0];
    partials[at + 2u] = isFinite[0];
    partials[at + 3u] = 0u;
  }
}
