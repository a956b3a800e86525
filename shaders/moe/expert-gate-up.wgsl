// The first half of the experts of a few tokens, by ids. A team of LANES threads takes one place of one chosen expert, and
// splits the columns.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;   // [rows, COLUMNS]
@group(0) @binding(1) var<storage, read> ids: array<u32>;       // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;   // [rows, TOP_K, INNER]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.z;
  if (token >= tokenCount() || !isPresent(token)) { return; }
  let slot = token * TOP_K + group.y;
  let place = group.x * (WORKGROUP / LANES) + lane / LANES;
  let chunks = COLUMNS / 8u;
  let starts = weightRows(ids[slot], place) * chunks;
  var sums = vec4<f32>();
  for (var c = lane % LANES; c < chunks; c += LANES) {
    let w = weightTile(starts, c);
    let at = 2u * (token * chunks + c);
    sums += x[at] * w.low + x[at + 1u] * w.high;
  }
  sums = teamSum(sums, 0u, lane);
  if (lane % LANES == 0u) { store(slot, place, sums); }
}
