// The input that attention leaves in ranges, which are joined here and go through the output gate, as in merge-attention:
//   M = max m,  x = Σ a 2^(m − M) / Σ l 2^(m − M) · σ(gate)
override COLUMNS: u32;
override HEAD_DIM: u32;
override QKV_OFFSET: u32;
override QKV_STRIDE: u32;

@group(0) @binding(0) var<storage, read> sums: array<vec4<f32>>;   // [T, query heads, SPLITS, HEAD_DIM]
@group(0) @binding(2) var<storage, read> qkv: array<vec4<f32>>;    // [T, per query head q | gate, …], a view in fours
@group(0) @binding(4) var<storage, read> stats: array<vec2<f32>>;  // [T, query heads, SPLITS] (m, l)

// The row that a workgroup works on.
var<private> inputRow = 0u;

const LOWEST = -3.0e38;

struct Raw { x: mat2x4<f32>, gate: mat2x4<f32> }

// A row without a sequence is 0.
fn fetchInput(index: u32) -> Raw {
  let i = min(index, COLUMNS / 8u - 1u);
  let eights = HEAD_DIM / 8u;
  let head = i / eights;
  let first = (inputRow * (COLUMNS / HEAD_DIM) + head) * SPLITS;
  let length = contextOf(inputRow);
  let span = max(1u, splitSpan(length));
  let splits = (length + span - 1u) / span;
  var highest = LOWEST;
  for (var s = 0u; s < SPLITS; s++) { highest = max(highest, select(LOWEST, stats[first + s].x, s < splits)); }
  var l = 0.0;
  var x = mat2x4<f32>();
  // What no range has written may be anything.
  for (var s = 0u; s < SPLITS; s++) {
    let at = 2u * ((first + s) * eights + i % eights);
    let stat = select(vec2<f32>(LOWEST, 0.0), stats[first + s], s < splits);
    let share = exp2(max(stat.x - highest, -126.0));
    l += share * stat.y;
    x[0] += share * select(vec4<f32>(), sums[at], s < splits);
    x[1] += share * select(vec4<f32>(), sums[at + 1u], s < splits);
  }
  let g = (QKV_OFFSET + inputRow * QKV_STRIDE + (2u * head + 1u) * HEAD_DIM) / 4u + 2u * (i % eights);
  return Raw(x * (1.0 / select(l, 1.0, splits == 0u)), mat2x4<f32>(qkv[g], qkv[g + 1u]));
}

// Elements 8 · index … of the input.
fn inputOf(raw: Raw, index: u32, thread: u32) -> mat2x4<f32> {
  return mat2x4<f32>(raw.x[0] * open(raw.gate[0]), raw.x[1] * open(raw.gate[1]));
}

fn inputScale() -> f32 { return 1.0; }

fn open(gate: vec4<f32>) -> vec4<f32> { return 1.0 / (1.0 + exp(clamp(-gate, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
