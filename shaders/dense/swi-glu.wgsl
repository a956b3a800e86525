// y = silu(gate) ⊙ up, where a row of x holds gate | up. One thread per element.

override WORKGROUP: u32 = 64u;
override COLUMNS: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // [tokens, 2 · COLUMNS], a view
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [tokens, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  let row = id.y;
  if (row >= tokenCount() || column >= COLUMNS) { return; }
  let gate = X_OFFSET + row * X_STRIDE + column;
  y[row * COLUMNS + column] = silu(x[gate]) * x[gate + COLUMNS];
}
