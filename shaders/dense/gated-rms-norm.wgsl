// y = x / sqrt(mean(x²) + eps) · weight · silu(gate) over each head. One workgroup per head of a token.

override WORKGROUP: u32;
override HEADS: u32;
override HEAD_DIM: u32;
override EPS: f32;
override X_OFFSET: u32;
override X_STRIDE: u32;
override GATE_OFFSET: u32;
override GATE_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // [tokens, HEADS · HEAD_DIM], a view
@group(0) @binding(1) var<storage, read> gate: array<f32>;     // [tokens, HEADS · HEAD_DIM], a view
@group(0) @binding(2) var<storage, read> factor: array<f32>;   // [HEAD_DIM]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // [tokens, HEADS · HEAD_DIM]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.y;
  if (row >= tokenCount()) { return; }
  let head = group.x * HEAD_DIM;
  let start = X_OFFSET + row * X_STRIDE + head;
  let gates = GATE_OFFSET + row * GATE_STRIDE + head;
  let out = row * HEADS * HEAD_DIM + head;
  var squares = 0.0;
  for (var i = lane; i < HEAD_DIM; i += WORKGROUP) { squares += x[start + i] * x[start + i]; }
  let scale = inverseSqrt(workgroupSum(squares, lane) / f32(HEAD_DIM) + EPS);
  for (var i = lane; i < HEAD_DIM; i += WORKGROUP) {
    y[out + i] = x[start + i] * scale * factor[i] * silu(gate[gates + i]);
  }
}
