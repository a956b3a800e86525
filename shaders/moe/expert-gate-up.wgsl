// hidden = silu(gate x) · (up x) for each chosen expert of each token, by ids. A team of threads takes a gate row and the
// up row that belongs to it, and splits their columns; a workgroup takes OUTPUTS such pairs.

override WORKGROUP: u32;
override OUTPUTS: u32;
override COLUMNS: u32;
override INNER: u32;
override TOP_K: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // [rows, COLUMNS]
@group(0) @binding(1) var<storage, read> ids: array<u32>;            // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;   // [rows, TOP_K, INNER]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.z;
  if (token >= tokenCount()) { return; }
  let slot = token * TOP_K + group.y;
  let expert = ids[slot];
  let chunks = COLUMNS / 8u;
  let size = teamSize();
  for (var first = 0u; first < OUTPUTS; first += WORKGROUP / size) {
    let output = first + lane / size;
    let i = group.x * OUTPUTS + output;
    let gateRow = (expert * 2u * INNER + min(i, INNER - 1u)) * chunks;
    let upRow = gateRow + INNER * chunks;
    var gate = 0.0;
    var up = 0.0;
    for (var c = lane % size; c < chunks; c += size) {
      let g = weight8(gateRow + c);
      let u = weight8(upRow + c);
      let low = x[2u * (token * chunks + c)];
      let high = x[2u * (token * chunks + c) + 1u];
      gate += dot(g[0], low) + dot(g[1], high);
      up += dot(u[0], low) + dot(u[1], high);
    }
    gate = teamSum(gate, lane);
    up = teamSum(up, lane);
    if (lane % size == 0u && output < OUTPUTS && i < INNER) { hidden[slot * INNER + i] = silu(gate) * up; }
  }
}
