// y = Σ over a token's slots of routing · parts, in the order of the slots. A thread per four columns.

override WORKGROUP: u32 = 64u;
override COLUMNS: u32;
override TOP_K: u32;

@group(0) @binding(0) var<storage, read> parts: array<vec4<f32>>;    // [rows, TOP_K, COLUMNS]
@group(0) @binding(1) var<storage, read> routing: array<f32>;        // [rows, TOP_K]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;  // [rows, COLUMNS]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.y;
  let quad = group.x * WORKGROUP + lane;
  let quads = COLUMNS / 4u;
  if (token >= tokenCount() || quad >= quads) { return; }
  var sum = vec4<f32>();
  for (var slot = token * TOP_K; slot < (token + 1u) * TOP_K; slot++) {
    sum += routing[slot] * parts[slot * quads + quad];
  }
  y[token * quads + quad] = sum;
}
