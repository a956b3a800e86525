// Puts the pairs (token, slot) of the batch in order by expert, then by token, and cuts each expert's pairs into tiles of
// ROWS for the grouped products. A workgroup per expert: it counts the pairs of all experts itself, so that it knows where
// its own begin without waiting for the others. Pairs whose id is none of the experts are left out.

override WORKGROUP: u32;
override EXPERTS: u32;
override TOP_K: u32;
override ROWS: u32;
override TILES: u32;

@group(0) @binding(0) var<storage, read> ids: array<u32>;                 // [rows, TOP_K]
@group(0) @binding(1) var<storage, read_write> pairs: array<u32>;         // [rows · TOP_K], token · TOP_K + slot
@group(0) @binding(2) var<storage, read_write> tiles: array<vec4<u32>>;   // [TILES], (expert, first in pairs, count, 0)

var<workgroup> counts: array<atomic<u32>, EXPERTS>;
var<workgroup> sums: array<vec3<u32>, WORKGROUP>;

fn tilesOf(count: u32) -> u32 { return (count + ROWS - 1u) / ROWS; }

// Sums over threads 0 … lane; Hillis and Steele.
fn runningSum(value: vec3<u32>, lane: u32) -> vec3<u32> {
  var sum = value;
  for (var step = 1u; step < WORKGROUP; step *= 2u) {
    workgroupBarrier();
    sums[lane] = sum;
    workgroupBarrier();
    if (lane >= step) { sum += sums[lane - step]; }
  }
  workgroupBarrier();
  sums[lane] = sum;
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let expert = group.x;
  // A server may leave workgroup memory as it was (`--fast`).
  for (var e = lane; e < EXPERTS; e += WORKGROUP) { atomicStore(&counts[e], 0u); }
  workgroupBarrier();
  let total = tokenCount() * TOP_K;
  // Each thread owns a run of pairs.
  let run = (total + WORKGROUP - 1u) / WORKGROUP;
  let begin = min(lane * run, total);
  let end = min(begin + run, total);
  var mine = 0u;
  for (var i = begin; i < end; i++) {
    let id = ids[i];
    if (id < EXPERTS) { atomicAdd(&counts[id], 1u); }
    mine += u32(id == expert);
  }
  workgroupBarrier();
  var pairsBefore = 0u;
  var tilesBefore = 0u;
  for (var e = lane; e < expert; e += WORKGROUP) {
    let count = atomicLoad(&counts[e]);
    pairsBefore += count;
    tilesBefore += tilesOf(count);
  }
  let own = runningSum(vec3(pairsBefore, tilesBefore, mine), lane);
  let whole = sums[WORKGROUP - 1u];

  var position = whole.x + own.z - mine;
  for (var i = begin; i < end; i++) {
    if (ids[i] == expert) {
      pairs[position] = i;
      position++;
    }
  }
  let count = whole.z;
  for (var t = lane; t < tilesOf(count); t += WORKGROUP) {
    tiles[whole.y + t] = vec4(expert, whole.x + t * ROWS, min(ROWS, count - t * ROWS), 0u);
  }
  // Nobody else knows which tiles are surplus.
  if (expert == EXPERTS - 1u) {
    for (var t = whole.y + tilesOf(count) + lane; t < TILES; t += WORKGROUP) { tiles[t] = vec4(0u); }
  }
}
