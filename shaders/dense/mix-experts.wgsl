// y = residual + routed + sigmoid(gate) · sharedExpert. One thread per element.

override WORKGROUP: u32 = 64u;
override COLUMNS: u32;
override RESIDUAL_OFFSET: u32;
override RESIDUAL_STRIDE: u32;
override ROUTED_OFFSET: u32;
override ROUTED_STRIDE: u32;
override SHARED_EXPERT_OFFSET: u32;
override SHARED_EXPERT_STRIDE: u32;
override GATE_OFFSET: u32;
override GATE_STRIDE: u32;

@group(0) @binding(0) var<storage, read> residual: array<f32>;  // [tokens, COLUMNS], a view
@group(0) @binding(1) var<storage, read> routed: array<f32>;    // [tokens, COLUMNS], a view
@group(0) @binding(2) var<storage, read> sharedExpert: array<f32>;    // [tokens, COLUMNS], a view
@group(0) @binding(3) var<storage, read> gate: array<f32>;      // [tokens, 1], a view
@group(0) @binding(4) var<storage, read_write> y: array<f32>;   // [tokens, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let column = id.x;
  let row = id.y;
  if (row >= tokenCount() || column >= COLUMNS) { return; }
  let expert = sigmoid(gate[GATE_OFFSET + row * GATE_STRIDE]) * sharedExpert[SHARED_EXPERT_OFFSET + row * SHARED_EXPERT_STRIDE + column];
  y[row * COLUMNS + column] = residual[RESIDUAL_OFFSET + row * RESIDUAL_STRIDE + column]
    + routed[ROUTED_OFFSET + row * ROUTED_STRIDE + column] + expert;
}
