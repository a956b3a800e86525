// Half of the experts for pairs (token, slot) grouped by expert. A workgroup takes a tile of 2 · TOKENS pairs of one
// expert, each of its threads one place. Of the inputs a thread loads only the two rows of its lane (modulo TOKENS);
// subgroup broadcasts hand them to the others. Subgroups have TOKENS lanes or more. Lines with $t stand for one line per
// pair of a half; the second half is left out where it is empty.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> pairs: array<u32>;        // [rows · TOP_K], by expert
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;  // (expert, first in pairs, count, 0)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_invocation_id) subgroupLane: u32,
) {
  let tile = tiles[group.x];
  let last = tile.z - 1u;
  if (tile.z == 0u) { return; }
  let place = group.y * 64u + lane;
  let chunks = inputColumns() / 8u;
  let starts = weightRows(tile.x, place) * chunks;
  let mine = subgroupLane % TOKENS;
  let startA = inputRow(pairs[tile.y + min(mine, last)]) * 2u * chunks;
  let startB = inputRow(pairs[tile.y + min(mine + TOKENS, last)]) * 2u * chunks;
  var a$t = vec4<f32>();
  var b$t = vec4<f32>();
  for (var c = 0u; c < chunks; c++) {
    let w = weightTile(starts, c);
    let lowA = x[startA + 2u * c];
    let highA = x[startA + 2u * c + 1u];
    a$t += subgroupBroadcast(lowA, $tu) * w.low + subgroupBroadcast(highA, $tu) * w.high;
    if (tile.z > TOKENS) {
      let lowB = x[startB + 2u * c];
      let highB = x[startB + 2u * c + 1u];
      b$t += subgroupBroadcast(lowB, $tu) * w.low + subgroupBroadcast(highB, $tu) * w.high;
    }
  }
  if ($tu <= last) { store(pairs[tile.y + $tu], place, a$t); }
  if (TOKENS + $tu <= last) { store(pairs[tile.y + TOKENS + $tu], place, b$t); }
}
