// Rows as f16, each divided by a power of two of its own that brings its largest value to 8 … 16. Each matrix that is
// multiplied as one lies in one piece, so that a subgroup touches few lines of memory to load it.
@group(0) @binding(6) var<storage, read_write> halves: array<vec4<u32>>;  // [row / M][column / K][row % M][K / 8]
@group(0) @binding(7) var<storage, read_write> halfScales: array<f32>;    // [row]

var<workgroup> peaks: array<f32, TEAMS>;

fn notePeak(x: mat2x4<f32>, thread: u32, round: u32) {
  let sizes = max(abs(x[0]), abs(x[1]));
  let peak = subgroupMax(max(max(sizes.x, sizes.y), max(sizes.z, sizes.w)));
  if (thread % LANES == 0u) { peaks[thread / LANES] = max(peak, select(peaks[thread / LANES], 0.0, round == 0u)); }
}

// After a barrier; `scale` is what multiplies the row.
fn keepRow(index: u32, x: mat2x4<f32>, scale: f32) {
  var peak = 0.0;
  for (var i = 0u; i < TEAMS; i++) { peak = max(peak, peaks[i]); }
  // An exponent alone is a power of two. Between the limits, its reciprocal is one too.
  let power = bitcast<f32>(bitcast<u32>(clamp(scale * peak, 1e-30, 1e30)) & 0x7f800000u);
  let factor = scale * (8.0 / power);
  let low = factor * x[0];
  let high = factor * x[1];
  let matrix = inputRow / M * (COLUMNS / K) + 8u * index / K;
  halves[(matrix * M + inputRow % M) * (K / 8u) + index % (K / 8u)] =
    vec4<u32>(pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
  if (index == 0u) { halfScales[inputRow] = power / 8.0; }
}
