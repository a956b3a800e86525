// What products make of their input, once for all of them: digits of each row, and where matrices of floats want it the
// input as it is. One workgroup per row.

@group(0) @binding(1) var<storage, read_write> digits: array<vec4<u32>>;       // [row][eight of a block][block]
@group(0) @binding(3) var<storage, read_write> digitScales: array<vec2<f32>>;  // [row][block], scale and sum

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  if (group.x >= tokenCount()) { return; }
  inputRow = group.x;
  var eights: array<mat2x4<f32>, ROUNDS>;
  for (var r = 0u; r < ROUNDS; r++) {
    let i = r * WORKGROUP + thread;
    eights[r] = inputOf(fetchInput(i), i, thread);
    notePeak(eights[r], thread, r);
  }
  workgroupBarrier();
  let scale = inputScale();
  for (var r = 0u; r < ROUNDS; r++) {
    let index = r * WORKGROUP + thread;
    let eight = toDigits(eights[r]);
    if (index < 4u * BLOCKS) {
      digits[(inputRow * 4u + index % 4u) * BLOCKS + index / 4u] = eight.words;
      if (index % 4u == 0u) { digitScales[inputRow * BLOCKS + index / 4u] = vec2<f32>(scale * eight.scale, eight.sum); }
      keepRow(index, eights[r], scale);
    }
  }
}
