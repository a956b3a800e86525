// Half of the experts for pairs (token, slot) grouped by expert. A workgroup takes a tile of 16 · TOKENS pairs of one expert
// and 16 places, 32 columns at a time: both are put into workgroup memory, weights unpacked, and each thread keeps the sums
// of one place for TOKENS pairs, 16 apart. Lines with $t stand for one line per pair of a thread.

const STEP = 32u;
const PLACES = 16u;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> pairs: array<u32>;        // [rows · TOP_K], by expert
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;  // (expert, first in pairs, count, 0)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

var<workgroup> inputs: array<vec4<f32>, 16u * TOKENS * STEP / 4u>;
var<workgroup> weights: array<vec4<f32>, 4u * PLACES * STEP / 4u>;

// Where columns 4 · quad … 4 · quad + 3 of a tile's row lie: shuffled so that neighbouring rows use different banks.
fn shuffled(row: u32, quad: u32) -> u32 { return row * (STEP / 4u) + (quad ^ (row % 8u)); }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let tile = tiles[group.x];
  if (tile.z == 0u) { return; }
  let last = tile.z - 1u;
  let chunks = inputColumns() / 8u;

  // What this thread brings: 8 columns of an input row, and of a weight row. Row n · PLACES + p is the n-th of place p.
  let row = lane / 4u;
  let chunk = lane % 4u;
  let inputStart = inputRow(pairs[tile.y + min(row, last)]) * chunks + chunk;
  let weightStart = weightRows(tile.x, group.y * PLACES + row % PLACES)[row / PLACES] * chunks + chunk;

  let place = lane % PLACES;
  let pair = lane / PLACES;
  var sums$t = vec4<f32>();
  // What comes next is on its way while sums are made of what came before.
  for (var c = 0u; c < chunks + STEP / 8u; c += STEP / 8u) {
    let at = min(c, chunks - STEP / 8u);
    let low = x[2u * (inputStart + at)];
    let high = x[2u * (inputStart + at) + 1u];
    let w = weight8(weightStart + at);
    if (c > 0u) {
      for (var quad = 0u; quad < STEP / 4u; quad++) {
        let w4 = mat4x4<f32>(
          weights[shuffled(place, quad)],
          weights[shuffled(PLACES + place, quad)],
          weights[shuffled(2u * PLACES + place, quad)],
          weights[shuffled(3u * PLACES + place, quad)],
        );
        sums$t += inputs[shuffled(pair + 16u * $tu, quad)] * w4;
      }
    }
    workgroupBarrier();
    if (row < 16u * TOKENS) {
      inputs[shuffled(row, 2u * chunk)] = low;
      inputs[shuffled(row, 2u * chunk + 1u)] = high;
    }
    weights[shuffled(row, 2u * chunk)] = w[0];
    weights[shuffled(row, 2u * chunk + 1u)] = w[1];
    workgroupBarrier();
  }
  if (pair + 16u * $tu <= last) { store(pairs[tile.y + pair + 16u * $tu], group.y * PLACES + place, sums$t); }
}
