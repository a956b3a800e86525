// The second half of the experts of a few tokens, by ids, weighed and summed. A team of LANES threads takes one place of
// all the experts that a token chose, one after the other as if their rows were one, and splits the columns.

@group(0) @binding(0) var<storage, read> hidden: array<vec4<f32>>;  // [rows, TOP_K, INNER]
@group(0) @binding(1) var<storage, read> ids: array<u32>;           // [rows, TOP_K]
@group(0) @binding(2) var<storage, read> routing: array<f32>;       // [rows, TOP_K]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // [rows, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.y;
  if (token >= tokenCount() || !isPresent(token)) { return; }
  let place = group.x * (WORKGROUP / LANES) + lane / LANES;
  let chunks = INNER / 8u;
  var sums = vec4<f32>();
  for (var c = lane % LANES; c < TOP_K * chunks; c += LANES) {
    let slot = token * TOP_K + c / chunks;
    let w = weightTile(weightRows(ids[slot], place) * chunks, c % chunks);
    let at = 2u * (token * TOP_K * chunks + c);
    sums += routing[slot] * (hidden[at] * w.low + hidden[at + 1u] * w.high);
  }
  sums = teamSum(sums, 0u, lane);
  if (lane % LANES == 0u) { store(token, place, sums); }
}
