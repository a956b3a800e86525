// y = residual + Σ weight · part of a row's experts + σ(gate) · part of the shared one, always in that order.
// Grid: [COLUMNS / WORKGROUP, rows].

override COLUMNS: u32;
override GATE_OFFSET: u32;
override GATE_STRIDE: u32;
override RESIDUAL_OFFSET: u32;
override RESIDUAL_STRIDE: u32;

@group(0) @binding(0) var<storage, read> parts: array<f32>;     // [pairs, then rows][COLUMNS]
@group(0) @binding(1) var<storage, read> weights: array<f32>;   // [rows, TOP_K]
@group(0) @binding(2) var<storage, read> gate: array<f32>;      // [rows, 1], a view
@group(0) @binding(3) var<storage, read> residual: array<f32>;  // [rows, COLUMNS], a view
@group(0) @binding(4) var<storage, read_write> y: array<f32>;   // [rows, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  let row = id.y;
  if (row >= tokenCount() || column >= COLUMNS) { return; }
  var sum = 0.0;
  for (var k = 0u; k < TOP_K; k++) { sum += weights[row * TOP_K + k] * parts[(row * TOP_K + k) * COLUMNS + column]; }
  sum += sigmoid(gate[GATE_OFFSET + row * GATE_STRIDE]) * parts[(ROWS * TOP_K + row) * COLUMNS + column];
  y[row * COLUMNS + column] = residual[RESIDUAL_OFFSET + row * RESIDUAL_STRIDE + column] + sum;
}
