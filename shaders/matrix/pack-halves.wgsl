// Rows of x as f16, each divided by a power of two of its own that brings its largest value to 8 … 16: no value is too
// large for f16, and none that matters in its row is too small. One workgroup per row.

override WORKGROUP: u32;
override COLUMNS: u32;  // a multiple of 8
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;                   // [rows, COLUMNS], a view
@group(0) @binding(1) var<storage, read_write> halves: array<vec4<u32>>;  // [rows, COLUMNS / 8]
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;        // [rows]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * GRID_X;
  if (row >= tokenCount() * ROWS_PER_TOKEN) { return; }
  let start = X_OFFSET + row * X_STRIDE;
  var largest = 0.0;
  for (var c = lane; c < COLUMNS; c += WORKGROUP) { largest = max(largest, abs(x[start + c])); }
  largest = workgroupMax(largest, lane);
  // An exponent alone is a power of two. Between the limits, its reciprocal is one too.
  let power = bitcast<f32>(bitcast<u32>(clamp(largest, 1e-30, 1e30)) & 0x7f800000u);
  let factor = 8.0 / power;
  for (var c = lane; c < COLUMNS / 8u; c += WORKGROUP) {
    let at = start + 8u * c;
    halves[row * (COLUMNS / 8u) + c] = vec4<u32>(
      pack2x16float(factor * vec2<f32>(x[at], x[at + 1u])),
      pack2x16float(factor * vec2<f32>(x[at + 2u], x[at + 3u])),
      pack2x16float(factor * vec2<f32>(x[at + 4u], x[at + 5u])),
      pack2x16float(factor * vec2<f32>(x[at + 6u], x[at + 7u])),
    );
  }
  if (lane == 0u) { scales[row] = power / 8.0; }
}

override GRID_X: u32;
override ROWS_PER_TOKEN: u32 = 1u;
