// y = here + elsewhere: the sums of experts on two devices. One thread per element.

override WORKGROUP: u32 = 64u;
override COLUMNS: u32;

@group(0) @binding(0) var<storage, read> here: array<f32>;        // [rows, COLUMNS]
@group(0) @binding(1) var<storage, read> elsewhere: array<f32>;   // [rows, COLUMNS]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;     // [rows, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= tokenCount() || id.x >= COLUMNS) { return; }
  let at = id.y * COLUMNS + id.x;
  y[at] = here[at] + elsewhere[at];
}
