// The gated norm of a value head's outputs, as the next product wants it. Everything but the norm's factor is in rows of x.

override COLUMNS: u32;      // of all heads
override EPS: f32;
override GATE_OFFSET: u32;  // of the gates, as views of what x is a view of

@group(0) @binding(11) var<storage, read> factor: array<vec4<f32>>;  // [VALUE_DIM]

const HEAD_EIGHTS = VALUE_FOURS / 2u;

var<workgroup> outputs: array<vec4<f32>, VALUE_FOURS>;

// The row that a workgroup works on.
var<private> inputRow = 0u;

fn keepOutput(row: u32, head: u32, four: u32, value: vec4<f32>) { outputs[four] = value; }

fn gateAt(index: u32) -> f32 { return x[index / 4u][index % 4u]; }

// Factor · silu(gate) of eight elements.
fn gain8(index: u32) -> mat2x4<f32> {
  let i = 2u * (index % HEAD_EIGHTS);
  let g = (GATE_OFFSET + inputRow * X_STRIDE) / 4u + 2u * index;
  return mat2x4<f32>(factor[i] * silu4(x[g]), factor[i + 1u] * silu4(x[g + 1u]));
}

// An element is at most √VALUE_DIM times its gain: what it is scaled by is known before the heads are.
fn begin(row: u32, thread: u32) {
  inputRow = row;
  for (var r = 0u; r < ROUNDS; r++) {
    let i = min(r * WORKGROUP + thread, COLUMNS / 8u - 1u);
    notePeak(sqrt(f32(VALUE_DIM)) * gain8(i), thread, r);
  }
}

fn finish(head: u32, thread: u32) {
  workgroupBarrier();
  if (thread >= LANES) { return; }
  let i = min(thread, HEAD_EIGHTS - 1u);
  let eight = mat2x4<f32>(outputs[2u * i], outputs[2u * i + 1u]);
  var sum = dot(eight[0], eight[0]) + dot(eight[1], eight[1]);
  for (var step = 1u; step < HEAD_EIGHTS; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  let scale = inverseSqrt(sum / f32(VALUE_DIM) + EPS);
  let index = head * HEAD_EIGHTS + i;
  let gain = gain8(index);
  keepEight(select(COLUMNS, index, thread < HEAD_EIGHTS), mat2x4<f32>(scale * eight[0] * gain[0], scale * eight[1] * gain[1]), 1.0);
}

fn silu4(x: vec4<f32>) -> vec4<f32> { return x / (1.0 + exp(-clamp(x, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
