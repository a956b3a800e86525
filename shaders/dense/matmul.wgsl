// y = x·Wᵀ (+ plus), many rows of x. A workgroup takes TOKENS rows of x, each of its threads 4 rows of W: a piece of W is
// unpacked once for all these tokens, and all threads read the same x. Lines with $t stand for one line per token.

override X_OFFSET: u32;
override X_STRIDE: u32;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * TOKENS;
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  if (row >= tokenCount()) { return; }
  let first = (group.y * 64u + lane) * 4u;
  let start$t = X_OFFSET + min(row + $tu, INPUT_ROWS - 1u) * X_STRIDE;
  var sums$t = vec4<f32>();
  for (var c = 0u; c < COLUMNS / 8u; c++) {
    let w = weightTile(first, c);
    sums$t += x4(start$t + 8u * c) * w.low + x4(start$t + 8u * c + 4u) * w.high;
  }
  store4(row + $tu, first, sums$t);
}
