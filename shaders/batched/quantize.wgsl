// What products make of their input, once for all of them: digits of each row, and where matrices of floats want it the
// input as it is. One workgroup per row.

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
  for (var r = 0u; r < ROUNDS; r++) { keepEight(r * WORKGROUP + thread, eights[r], scale); }
}
