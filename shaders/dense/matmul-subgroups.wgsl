// y = x·Wᵀ (+ plus), many rows of x. A workgroup takes 2 · TOKENS rows of x, each of its threads 4 rows of W. Of x a thread
// loads only the two rows of its lane (modulo TOKENS); subgroup broadcasts hand them to the others, so that one load serves
// 4 · TOKENS multiplications instead of 4. Where the second half of its rows is empty, it is left out. Subgroups have TOKENS lanes or more. Lines with $t stand for one line per token.

override X_OFFSET: u32;
override X_STRIDE: u32;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_invocation_id) subgroupLane: u32,
) {
  let row = group.x * 2u * TOKENS;
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  if (row >= tokenCount()) { return; }
  let isWhole = row + TOKENS < tokenCount();
  let first = (group.y * 64u + lane) * 4u;
  let mine = row + subgroupLane % TOKENS;
  let startA = X_OFFSET + min(mine, INPUT_ROWS - 1u) * X_STRIDE;
  let startB = X_OFFSET + min(mine + TOKENS, INPUT_ROWS - 1u) * X_STRIDE;
  var a$t = vec4<f32>();
  var b$t = vec4<f32>();
  for (var c = 0u; c < COLUMNS / 8u; c++) {
    let w = weightTile(first, c);
    let lowA = x4(startA + 8u * c);
    let highA = x4(startA + 8u * c + 4u);
    a$t += subgroupBroadcast(lowA, $tu) * w.low + subgroupBroadcast(highA, $tu) * w.high;
    if (isWhole) {
      let lowB = x4(startB + 8u * c);
      let highB = x4(startB + 8u * c + 4u);
      b$t += subgroupBroadcast(lowB, $tu) * w.low + subgroupBroadcast(highB, $tu) * w.high;
    }
  }
  store4(row + $tu, first, a$t);
  store4(row + TOKENS + $tu, first, b$t);
}
