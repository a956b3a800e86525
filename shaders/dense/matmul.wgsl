// y = x·Wᵀ (+ plus), many rows of x. A workgroup takes 4 rows of x, each of its threads 4 rows of W: a piece of W is
// unpacked once for 4 tokens, and all threads read the same x.

override X_OFFSET: u32;
override X_STRIDE: u32;

fn startOf(row: u32) -> u32 { return X_OFFSET + min(row, INPUT_ROWS - 1u) * X_STRIDE; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x * 4u;
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  if (row >= tokenCount()) { return; }
  let first = (group.y * 64u + lane) * 4u;
  let start0 = startOf(row);
  let start1 = startOf(row + 1u);
  let start2 = startOf(row + 2u);
  let start3 = startOf(row + 3u);
  var sums0 = vec4<f32>();
  var sums1 = vec4<f32>();
  var sums2 = vec4<f32>();
  var sums3 = vec4<f32>();
  for (var c = 0u; c < COLUMNS / 8u; c++) {
    let w = weightTile(first, c);
    sums0 += x4(start0 + 8u * c) * w.low + x4(start0 + 8u * c + 4u) * w.high;
    sums1 += x4(start1 + 8u * c) * w.low + x4(start1 + 8u * c + 4u) * w.high;
    sums2 += x4(start2 + 8u * c) * w.low + x4(start2 + 8u * c + 4u) * w.high;
    sums3 += x4(start3 + 8u * c) * w.low + x4(start3 + 8u * c + 4u) * w.high;
  }
  store4(row, first, sums0);
  store4(row + 1u, first, sums1);
  store4(row + 2u, first, sums2);
  store4(row + 3u, first, sums3);
}
