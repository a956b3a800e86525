// Each subgroup convolves what it needs, so nobody waits for anybody.
fn convolveAll(n: Needed, thread: u32) {}

fn convolvedAt(n: Needed, index: u32) -> vec4<f32> { return convolved(n.row, channelOf(n, index), n.slot, n.position); }
