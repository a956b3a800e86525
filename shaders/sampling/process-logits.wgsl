// What a request does to the logits before a token is drawn: bias, repetition penalty, presence and frequency penalty,
// temperature. Each workgroup also leaves its largest result. Grid: [GROUPS, sequences].

override VOCABULARY: u32;
override GROUPS: u32;

@group(0) @binding(0) var<storage, read> logits: array<f32>;            // [sequences, VOCABULARY]
@group(0) @binding(1) var<storage, read> params: array<u32>;            // [sequences, PARAM_WORDS]
@group(0) @binding(2) var<storage, read> counts: array<u32>;            // [sequences, VOCABULARY]
@group(0) @binding(3) var<storage, read> bias: array<f32>;              // [sequences, VOCABULARY]
@group(0) @binding(4) var<storage, read_write> processed: array<f32>;   // [sequences, VOCABULARY]
@group(0) @binding(5) var<storage, read_write> partials: array<u32>;    // [sequences, GROUPS, (max, its id, finite, 0)]

const WORKGROUP = 256u;
const PER_GROUP = 2048u;
const LOWEST = -3.0e38;

var<workgroup> best: array<f32, WORKGROUP>;
var<workgroup> bestId: array<u32, WORKGROUP>;
var<workgroup> isFinite: array<u32, WORKGROUP>;

fn penalised(logit: f32, seen: u32, base: u32) -> f32 {
  let repetition = bitcast<f32>(params[base + 6u]);
  let count = f32(seen & 0x7fffffffu);
  var value = logit;
  if (seen != 0u) { value = select(value / repetition, value * repetition, value < 0.0); }
  if (count > 0.0) { value -= bitcast<f32>(params[base + 4u]) + count * bitcast<f32>(params[base + 5u]); }
  let temperature = bitcast<f32>(params[base]);
  return select(value, value / temperature, temperature > 0.0);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sequence = group.y;
  let end = min((group.x + 1u) * PER_GROUP, VOCABULARY);
  var top = LOWEST;
  var topId = end - 1u;
  var finite = 1u;
  for (var id = group.x * PER_GROUP + lane; id < end; id += WORKGROUP) {
    let at = sequence * VOCABULARY + id;
    let logit = logits[at];
    // By its bits, because arithmetic on what is not a number may be assumed away.
    if ((bitcast<u32>(logit) & 0x7f800000u) == 0x7f800000u) { finite = 0u; }
    let value = max(penalised(logit + bias[at], counts[at], sequence * PARAM_WORDS), LOWEST);
    processed[at] = value;
    if (value > top) { top = value; topId = id; }
  }
  best[lane] = top;
  bestId[lane] = topId;
  isFinite[lane] = finite;
  for (var step = WORKGROUP / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      let other = lane + step;
      if (best[other] > best[lane] || (best[other] == best[lane] && bestId[other] < bestId[lane])) {
        best[lane] = best[other];
        bestId[lane] = bestId[other];
      }
      isFinite[lane] &= isFinite[other];
    }
  }
  if (lane == 0u) {
    let at = (sequence * GROUPS + group.x) * 4u;
    partials[at] = bitcast<u32>(best[0]);
    partials[at + 1u] = bestId[0];
    partials[at + 2u] = isFinite[0];
    partials[at + 3u] = 0u;
  }
}
