// The first half of the experts: silu(gate) · up of each pair (row, expert). A workgroup takes some places of one expert for
// up to a tile of its pairs; a team of LANES takes rows of gate and up, which stay in registers for all pairs.
// Grid: [places, TILES].

override INNER: u32;

@group(0) @binding(1) var<storage, read> pairs: array<u32>;         // [rows · TOP_K], row · TOP_K + k
@group(0) @binding(2) var<storage, read> tiles: array<vec4<u32>>;   // [TILES], (expert, first in pairs, count, 0)
@group(0) @binding(3) var<storage, read_write> hidden: array<f32>;  // [pairs, INNER]
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;  // [EXPERTS · (gate INNER | up INNER), COLUMNS]
@group(0) @binding(7) var<storage, read> weightScales: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tile = tiles[group.y];
  if (tile.z == 0u || tokenCount() == 0u) { return; }
  let lane = thread % LANES;
  let place = (group.x * TEAMS + thread / LANES) * (ROWS_PER_TEAM / 2u);
  let at$r_$i = rowStart(tile.x, place, $ru) + min($iu * LANES + lane, BLOCKS - 1u);
  let w$r_$i = array<vec4<u32>, 1>(weight[at$r_$i]);
  let s$r_$i = blockScale(weightScales[scaleWord(at$r_$i)], at$r_$i);
  let begin = tile.y;
  let end = tile.y + tile.z;
$loop pairs[$n] / TOP_K
    if (lane == 0u && place + $gate < INNER) { hidden[pairs[n + $tu] * INNER + place + $gate] = silu(y$gate_$t) * y$up_$t; }
$end
}

// The first block of a team's row r: its gates, then the ups beside them.
fn rowStart(expert: u32, place: u32, r: u32) -> u32 {
  let half = ROWS_PER_TEAM / 2u;
  return (expert * 2u * INNER + r / half * INNER + min(place + r % half, INNER - 1u)) * BLOCKS;
}
