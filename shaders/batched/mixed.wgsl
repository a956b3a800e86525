// What a sparse layer leaves: residual + Σ weight · part of a row's experts and of the shared one, always in that order.

override RESIDUAL_OFFSET: u32;
override RESIDUAL_STRIDE: u32;

@group(0) @binding(0) var<storage, read> residual: array<vec4<f32>>;  // [rows, COLUMNS], a view whose rows start at multiples of 4
@group(0) @binding(8) var<storage, read> parts: array<vec4<f32>>;     // [pairs, then rows][COLUMNS]
@group(0) @binding(9) var<storage, read> weights: array<f32>;         // [rows, TOP_K + 1], the shared one's last

fn mixed(row: u32, four: u32) -> vec4<f32> {
  var sum = vec4<f32>();
  for (var k = 0u; k <= TOP_K; k++) {
    let part = select(row * TOP_K + k, ROWS * TOP_K + row, k == TOP_K);
    sum += weights[row * (TOP_K + 1u) + k] * parts[part * (COLUMNS / 4u) + four];
  }
  return residual[(RESIDUAL_OFFSET + row * RESIDUAL_STRIDE) / 4u + four] + sum;
}
