// Joins the ranges of decode-attention and opens the output gate. One workgroup per query head and row:
//   M = max m,  y = Σ a 2^(m − M) / Σ l 2^(m − M) · σ(gate)

override QUERY_HEADS: u32;
override HEAD_DIM: u32;
override QKV_OFFSET: u32;
override QKV_STRIDE: u32;

@group(0) @binding(0) var<storage, read> sums: array<f32>;         // [T, QUERY_HEADS, SPLITS, HEAD_DIM]
@group(0) @binding(1) var<storage, read> stats: array<vec2<f32>>;  // [T, QUERY_HEADS, SPLITS] (m, l)
@group(0) @binding(2) var<storage, read> qkv: array<f32>;          // [T, per query head q | gate, …], a view
@group(0) @binding(3) var<storage, read_write> y: array<f32>;      // [T, QUERY_HEADS · HEAD_DIM]

@compute @workgroup_size(HEAD_DIM)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
  let head = group.x;
  let row = group.y;
  if (row >= tokenCount()) { return; }
  let out = (row * QUERY_HEADS + head) * HEAD_DIM + i;
  if (positionAt(row) == INACTIVE) {
    y[out] = 0.0;
    return;
  }
  let length = positionAt(row) + 1u;
  let span = splitSpan(spannedLength(row));
  let splits = (length + span - 1u) / span;
  let first = (row * QUERY_HEADS + head) * SPLITS;
  var highest = stats[first].x;
  for (var s = 1u; s < splits; s++) { highest = max(highest, stats[first + s].x); }
  var l = 0.0;
  var a = 0.0;
  for (var s = 0u; s < splits; s++) {
    let stat = stats[first + s];
    let share = exp2(max(stat.x - highest, -126.0));
    l += share * stat.y;
    a += share * sums[(first + s) * HEAD_DIM + i];
  }
  let gate = qkv[QKV_OFFSET + row * QKV_STRIDE + (2u * head + 1u) * HEAD_DIM + i];
  y[out] = a / l / (1.0 + exp(clamp(-gate, -80.0, 80.0)));
}
