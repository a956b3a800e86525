// y = x / sqrt(mean(x²) + eps) · weight. One workgroup per row.

override WORKGROUP: u32;
override COLUMNS: u32;
override EPS: f32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // [rows, COLUMNS], a view
@group(0) @binding(1) var<storage, read> factor: array<f32>;   // [COLUMNS]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // [rows, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  if (group.x >= tokenCount()) { return; }
  let start = X_OFFSET + group.x * X_STRIDE;
  let out = group.x * COLUMNS;
  var squares = 0.0;
  for (var c = lane; c < COLUMNS; c += WORKGROUP) {
    let value = x[start + c];
    squares += value * value;
  }
  let scale = inverseSqrt(workgroupSum(squares, lane) / f32(COLUMNS) + EPS);
  for (var c = lane; c < COLUMNS; c += WORKGROUP) {
    y[out + c] = x[start + c] * scale * factor[c];
  }
}
