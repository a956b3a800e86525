// Grid: [COLUMNS / (4 · WORKGROUP), rows].

override COLUMNS: u32;

@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;  // [rows, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= tokenCount() || id.x >= COLUMNS / 4u) { return; }
  y[id.y * (COLUMNS / 4u) + id.x] = mixed(id.y, id.x);
}
