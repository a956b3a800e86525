// y = x·Wᵀ (+ plus) for TOKENS rows of x, which share each load of W. A team of LANES threads takes 4 rows of W and
// splits its columns. Lines with $t stand for one line per token: registers have no arrays.

override X_OFFSET: u32;
override X_STRIDE: u32;
override GRID_X: u32;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let team = (group.y * GRID_X + group.x) * (WORKGROUP / LANES) + lane / LANES;
  let first = 4u * team;
  var sums$t = vec4<f32>();
  for (var c = lane % LANES; c < COLUMNS / 8u; c += LANES) {
    let w = weightTile(first, c);
    let at = X_OFFSET + 8u * c;
    sums$t += x4(at + $tu * X_STRIDE) * w.low + x4(at + $tu * X_STRIDE + 4u) * w.high;
  }
  sums$t = teamSum(sums$t, $tu, lane);
  if (lane % LANES != 0u) { return; }
  store4($tu, first, sums$t);
}
