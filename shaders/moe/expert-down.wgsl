// y = Σ over a token's experts of routing · (down hidden), in the order of the choice. A thread per output.

override COLUMNS: u32;
override INNER: u32;
override TOP_K: u32;

@group(0) @binding(0) var<storage, read> hidden: array<vec4<f32>>;  // [rows, TOP_K, INNER]
@group(0) @binding(1) var<storage, read> ids: array<u32>;           // [rows, TOP_K]
@group(0) @binding(2) var<storage, read> routing: array<f32>;       // [rows, TOP_K]
@group(0) @binding(3) var<storage, read_write> y: array<f32>;       // [rows, COLUMNS]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.y;
  let column = group.x * 64u + lane;
  if (token >= tokenCount() || column >= COLUMNS) { return; }
  let chunks = INNER / 8u;
  var sum = 0.0;
  for (var k = 0u; k < TOP_K; k++) {
    let slot = token * TOP_K + k;
    let row = (ids[slot] * COLUMNS + column) * chunks;
    var part = 0.0;
    for (var c = 0u; c < chunks; c++) {
      let w = weight8(row + c);
      part += dot(w[0], hidden[2u * (slot * chunks + c)]) + dot(w[1], hidden[2u * (slot * chunks + c) + 1u]);
    }
    sum += routing[slot] * part;
  }
  y[token * COLUMNS + column] = sum;
}
