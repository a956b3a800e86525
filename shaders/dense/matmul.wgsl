// y = x·Wᵀ (+ plus), many rows of x. A workgroup takes TOKENS rows of x; each of its threads takes OUTPUTS rows of W, so
// that a piece of W is unpacked once for all those rows of x, and all threads read the same x.

override WORKGROUP: u32 = 64u;
override COLUMNS: u32;
override ROWS: u32;
override INPUT_ROWS: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [rows, ROWS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.x * TOKENS;
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  if (token >= tokenCount()) { return; }
  let first = group.y * WORKGROUP * OUTPUTS + lane;
  let chunks = COLUMNS / 8u;

  var sums: array<f32, OUTPUTS * TOKENS>;
  for (var c = 0u; c < chunks; c++) {
    var w: array<mat2x4<f32>, OUTPUTS>;
    for (var o = 0u; o < OUTPUTS; o++) { w[o] = weight8(min(first + o * WORKGROUP, ROWS - 1u) * chunks + c); }
    for (var t = 0u; t < TOKENS; t++) {
      let at = X_OFFSET + min(token + t, INPUT_ROWS - 1u) * X_STRIDE + 8u * c;
      let low = x4(at);
      let high = x4(at + 4u);
      for (var o = 0u; o < OUTPUTS; o++) { sums[o * TOKENS + t] += dot(w[o][0], low) + dot(w[o][1], high); }
    }
  }

  for (var t = 0u; t < TOKENS; t++) {
    for (var o = 0u; o < OUTPUTS; o++) {
      let row = first + o * WORKGROUP;
      if (token + t < INPUT_ROWS && row < ROWS) {
        y[(token + t) * ROWS + row] = sums[o * TOKENS + t] + plusAt(token + t, row);
      }
    }
  }
}
