// The RMS norm of each head of the input, times silu(gate). HEAD_DIM / 8 neighbouring threads share a head.
override EPS: f32;
override HEAD_DIM: u32;
override GATE_OFFSET: u32;
override GATE_STRIDE: u32;

@group(0) @binding(2) var<storage, read> factor: array<vec4<f32>>;  // [HEAD_DIM]
@group(0) @binding(4) var<storage, read> gate: array<vec4<f32>>;    // [rows, COLUMNS], a view

struct Raw { x: mat2x4<f32>, factor: mat2x4<f32>, gate: mat2x4<f32> }

fn fetchInput(index: u32) -> Raw {
  let i = 2u * (index % (HEAD_DIM / 8u));
  let g = (GATE_OFFSET + inputRow * GATE_STRIDE) / 4u + 2u * min(index, COLUMNS / 8u - 1u);
  return Raw(x8(index), mat2x4<f32>(factor[i], factor[i + 1u]), mat2x4<f32>(gate[g], gate[g + 1u]));
}

fn inputOf(raw: Raw, index: u32, thread: u32) -> mat2x4<f32> {
  let x = raw.x;
  var sum = dot(x[0], x[0]) + dot(x[1], x[1]);
  for (var step = 1u; step < HEAD_DIM / 8u; step *= 2u) { sum += subgroupShuffleXor(sum, step); }
  let scale = inverseSqrt(sum / f32(HEAD_DIM) + EPS);
  return mat2x4<f32>(scale * x[0] * raw.factor[0] * silu4(raw.gate[0]), scale * x[1] * raw.factor[1] * silu4(raw.gate[1]));
}

fn inputScale() -> f32 { return 1.0; }

fn silu4(x: vec4<f32>) -> vec4<f32> { return x / (1.0 + exp(-clamp(x, vec4<f32>(-80.0), vec4<f32>(80.0)))); }
