// y = the last row of each sequence. One thread per element.

override WORKGROUP: u32 = 64u;
override COLUMNS: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // [tokens, COLUMNS], a view
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [sequences, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  let s = id.y;
  if (s >= sequenceCount() || column >= COLUMNS) { return; }
  let row = sequenceStart(s + 1u) - 1u;
  y[s * COLUMNS + column] = x[X_OFFSET + row * X_STRIDE + column];
}
