@group(0) @binding(1) var<storage, read> gates: array<f32>;          // [rows, b | a], a view
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // [rows, value head, value dim]

fn keepOutput(row: u32, head: u32, four: u32, value: vec4<f32>) {
  y[(row * VALUE_HEADS + head) * (VALUE_DIM / 4u) + four] = value;
}
