// y = x·Wᵀ (+ plus) for TOKENS rows of x, which share each load of W. LANES threads share OUTPUTS rows of W and split
// its columns; WORKGROUP / LANES such teams make a workgroup.

override WORKGROUP: u32;
override LANES: u32;
override COLUMNS: u32;
override ROWS: u32;
override GRID_X: u32;
override X_OFFSET: u32;
override X_STRIDE: u32;

@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [TOKENS, ROWS]

var<workgroup> partial: array<f32, WORKGROUP * OUTPUTS * TOKENS>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let teams = WORKGROUP / LANES;
  let first = (group.y * GRID_X + group.x) * teams * OUTPUTS;
  let mine = first + lane / LANES * OUTPUTS;
  let chunks = COLUMNS / 8u;

  var sums: array<f32, OUTPUTS * TOKENS>;
  for (var c = lane % LANES; c < chunks; c += LANES) {
    var values: array<mat2x4<f32>, TOKENS>;
    for (var t = 0u; t < TOKENS; t++) {
      let at = X_OFFSET + t * X_STRIDE + 8u * c;
      values[t] = mat2x4<f32>(x4(at), x4(at + 4u));
    }
    for (var o = 0u; o < OUTPUTS; o++) {
      let w = weight8(min(mine + o, ROWS - 1u) * chunks + c);
      for (var t = 0u; t < TOKENS; t++) {
        sums[o * TOKENS + t] += dot(w[0], values[t][0]) + dot(w[1], values[t][1]);
      }
    }
  }

  for (var i = 0u; i < OUTPUTS * TOKENS; i++) { partial[i * WORKGROUP + lane] = sums[i]; }
  workgroupBarrier();
  for (var i = lane; i < teams * OUTPUTS * TOKENS; i += WORKGROUP) {
    let t = i / (teams * OUTPUTS);
    let output = i % (teams * OUTPUTS);
    let start = (output % OUTPUTS * TOKENS + t) * WORKGROUP + output / OUTPUTS * LANES;
    var sum = 0.0;
    for (var k = 0u; k < LANES; k++) { sum += partial[start + k]; }
    let row = first + output;
    if (row < ROWS) { y[t * ROWS + row] = sum + plusAt(t, row); }
  }
}
