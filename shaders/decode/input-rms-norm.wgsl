// The input times the norm's factor. What all of it is divided by comes last, when the products are there.
override EPS: f32;

@group(0) @binding(2) var<storage, read> factor: array<vec4<f32>>;  // [COLUMNS]

var<workgroup> squares: array<f32, TEAMS>;

struct Raw { x: mat2x4<f32>, factor: mat2x4<f32> }

fn fetchInput(index: u32) -> Raw {
  let i = 2u * min(index, COLUMNS / 8u - 1u);
  return Raw(x8(index), mat2x4<f32>(factor[i], factor[i + 1u]));
}

// Elements 8 · index … of the input, unscaled. Its squares are added up on the way.
fn inputOf(raw: Raw, index: u32, thread: u32) -> mat2x4<f32> {
  var x = raw.x;
  if (index >= COLUMNS / 8u) { x = mat2x4<f32>(); }
  let sum = subgroupAdd(dot(x[0], x[0]) + dot(x[1], x[1]));
  if (thread % LANES == 0u) { squares[thread / LANES] = select(squares[thread / LANES], 0.0, index < WORKGROUP) + sum; }
  return mat2x4<f32>(x[0] * raw.factor[0], x[1] * raw.factor[1]);
}

// After a barrier.
fn inputScale() -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < TEAMS; i++) { sum += squares[i]; }
  return inverseSqrt(sum / f32(COLUMNS) + EPS);
}
