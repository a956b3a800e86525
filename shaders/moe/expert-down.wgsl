// y = Σ over a token's experts of routing · (down hidden), by ids. A team of threads takes a row of every expert chosen,
// one after the other as if they were one long row, and splits its columns; a workgroup takes OUTPUTS such rows.

override WORKGROUP: u32;
override OUTPUTS: u32;
override COLUMNS: u32;
override INNER: u32;
override TOP_K: u32;

@group(0) @binding(0) var<storage, read> hidden: array<vec4<f32>>;  // [rows, TOP_K, INNER]
@group(0) @binding(1) var<storage, read> ids: array<u32>;           // [rows, TOP_K]
@group(0) @binding(2) var<storage, read> routing: array<f32>;       // [rows, TOP_K]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // [rows, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.y;
  if (token >= tokenCount()) { return; }
  let chunks = INNER / 8u;
  let size = teamSize();
  for (var first = 0u; first < OUTPUTS; first += WORKGROUP / size) {
    let output = first + lane / size;
    let column = group.x * OUTPUTS + output;
    var sum = 0.0;
    for (var c = lane % size; c < TOP_K * chunks; c += size) {
      let slot = token * TOP_K + c / chunks;
      let w = weight8((ids[slot] * COLUMNS + min(column, COLUMNS - 1u)) * chunks + c % chunks);
      let at = 2u * (token * TOP_K * chunks + c);
      sum += routing[slot] * (dot(w[0], hidden[at]) + dot(w[1], hidden[at + 1u]));
    }
    sum = teamSum(sum, lane);
    if (lane % size == 0u && output < OUTPUTS && column < COLUMNS) { y[token * COLUMNS + column] = sum; }
  }
}
