// hidden = silu(gate x) · (up x) for each chosen expert of each token. A thread per inner row.

override COLUMNS: u32;
override INNER: u32;
override TOP_K: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // [rows, COLUMNS]
@group(0) @binding(1) var<storage, read> ids: array<u32>;            // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> hidden: array<f32>;   // [rows, TOP_K, INNER]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.z;
  let i = group.x * 64u + lane;
  if (token >= tokenCount() || i >= INNER) { return; }
  let slot = token * TOP_K + group.y;
  let chunks = COLUMNS / 8u;
  let gateRow = (ids[slot] * 2u * INNER + i) * chunks;
  let upRow = gateRow + INNER * chunks;
  var gate = 0.0;
  var up = 0.0;
  for (var c = 0u; c < chunks; c++) {
    let x0 = x[token * 2u * chunks + 2u * c];
    let x1 = x[token * 2u * chunks + 2u * c + 1u];
    let g = weight8(gateRow + c);
    let u = weight8(upRow + c);
    gate += dot(g[0], x0) + dot(g[1], x1);
    up += dot(u[0], x0) + dot(u[1], x1);
  }
  hidden[slot * INNER + i] = gate / (1.0 + exp(-gate)) * up;
}
