// A workgroup's threads share out what all of them need.
var<workgroup> convolution: array<vec4<f32>, KEY_DIM / 2u + TEAMS * FOURS>;

fn convolveAll(n: Needed, thread: u32) {
  for (var i = thread; i < KEY_DIM / 2u + TEAMS * FOURS; i += WORKGROUP) {
    convolution[i] = convolved(n.row, channelOf(n, i), n.slot, n.position);
  }
  workgroupBarrier();
}

fn convolvedAt(n: Needed, index: u32) -> vec4<f32> { return convolution[index]; }
