// y = x / sqrt(mean(x²) + eps) · weight · silu(gate) over each head. A subgroup has a head, each lane four of its columns:
// nobody waits for others, and all loads are under way at once.

override WORKGROUP: u32;
override HEADS: u32;
override HEAD_DIM: u32;
override EPS: f32;
override X_OFFSET: u32;
override X_STRIDE: u32;
override GATE_OFFSET: u32;
override GATE_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;        // [tokens, HEADS · HEAD_DIM], a view
@group(0) @binding(1) var<storage, read> gate: array<vec4<f32>>;     // [tokens, HEADS · HEAD_DIM], a view
@group(0) @binding(2) var<storage, read> factor: array<vec4<f32>>;   // [HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // [tokens, HEADS · HEAD_DIM]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = group.y;
  if (row >= tokenCount()) { return; }
  let column = 4u * (group.x * WORKGROUP + thread);
  let isInside = column < HEADS * HEAD_DIM;
  let at = select(0u, column, isInside);
  let value = x[(X_OFFSET + row * X_STRIDE + at) / 4u];
  let gates = gate[(GATE_OFFSET + row * GATE_STRIDE + at) / 4u];
  let factors = factor[at % HEAD_DIM / 4u];
  let scale = inverseSqrt(subgroupAdd(dot(value, value)) / f32(HEAD_DIM) + EPS);
  if (isInside) {
    y[(row * HEADS * HEAD_DIM + column) / 4u] =
      value * scale * factors * vec4<f32>(silu(gates.x), silu(gates.y), silu(gates.z), silu(gates.w));
  }
}
