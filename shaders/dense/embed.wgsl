// y = the rows of the embedding that the batch's token ids name. One workgroup per token.

override WORKGROUP: u32 = 64u;
override COLUMNS: u32;

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;  // [tokens, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  if (row >= tokenCount()) { return; }
  let chunks = COLUMNS / 8u;
  let start = tokenAt(row) * chunks;
  for (var c = lane; c < chunks; c += WORKGROUP) {
    let values = weight8(start + c);
    y[2u * (row * chunks + c)] = values[0];
    y[2u * (row * chunks + c) + 1u] = values[1];
  }
}
