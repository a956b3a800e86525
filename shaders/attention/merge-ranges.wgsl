// Joins many ranges of attention and opens the output gate, as merge-attention does. A workgroup has COLUMNS dimensions of
// one query head and row; its threads share out the ranges, so that all loads are under way at once:
//   M = max m,  y = Σ a 2^(m − M) / Σ l 2^(m − M) · σ(gate)
// Grid: [HEAD_DIM / COLUMNS, query heads, rows].

override QUERY_HEADS: u32;
override HEAD_DIM: u32;
override QKV_OFFSET: u32;
override QKV_STRIDE: u32;

const WORKGROUP = 256u;  // no fewer than SPLITS
const VECTORS = 8u;      // of four dimensions
const COLUMNS = 4u * VECTORS;
const STREAMS = WORKGROUP / VECTORS;
const LOWEST = -3.0e38;

@group(0) @binding(0) var<storage, read> sums: array<vec4<f32>>;     // [T, QUERY_HEADS, SPLITS, HEAD_DIM]
@group(0) @binding(1) var<storage, read> stats: array<vec2<f32>>;    // [T, QUERY_HEADS, SPLITS] (m, l)
@group(0) @binding(2) var<storage, read> qkv: array<f32>;            // [T, per query head q | gate, …], a view
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // [T, QUERY_HEADS · HEAD_DIM]

var<workgroup> shares: array<f32, WORKGROUP>;       // 2^(m − M), by ranges
var<workgroup> parts: array<vec4<f32>, WORKGROUP>;  // [stream][vector]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let head = group.y;
  let row = group.z;
  if (row >= tokenCount()) { return; }
  let vector = thread % VECTORS;
  let i = group.x * COLUMNS + 4u * vector;
  let out = ((row * QUERY_HEADS + head) * HEAD_DIM + i) / 4u;
  let length = contextOf(row);
  if (length == 0u) {
    if (thread < VECTORS) { y[out] = vec4<f32>(); }
    return;
  }
  let span = splitSpan(spannedLength(row));
  let splits = (length + span - 1u) / span;
  let first = (row * QUERY_HEADS + head) * SPLITS;

  var stat = vec2<f32>(LOWEST, 0.0);
  if (thread < splits) { stat = stats[first + thread]; }
  let highest = workgroupMax(stat.x, thread);
  let share = exp2(max(stat.x - highest, -126.0));
  shares[thread] = share;
  let l = workgroupSum(share * stat.y, thread);

  var sum = vec4<f32>();
  for (var s = thread / VECTORS; s < splits; s += STREAMS) {
    sum += shares[s] * sums[((first + s) * HEAD_DIM + i) / 4u];
  }
  parts[thread] = sum;
  for (var half = STREAMS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half * VECTORS) { parts[thread] += parts[thread + half * VECTORS]; }
  }
  if (thread < VECTORS) {
    let at = QKV_OFFSET + row * QKV_STRIDE + (2u * head + 1u) * HEAD_DIM + i;
    let gate = vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
    y[out] = parts[thread] / l / (1.0 + exp(clamp(-gate, vec4<f32>(-80.0), vec4<f32>(80.0))));
  }
}
