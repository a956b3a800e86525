// Part $p: floats. A subgroup takes one row, which stays in registers for all rows of the input.
override ROWS$p: u32;
override START$p: u32;

@group(0) @binding($a) var<storage, read> weight$p: array<$vector>;

fn part$p(group: u32, thread: u32, begin: u32, end: u32) {
  let lane = thread % SUBGROUP;
  let row = group * (WORKGROUP / SUBGROUP) + thread / SUBGROUP;
  let start = min(row, ROWS$p - 1u) * (COLUMNS / 8u);
  var w: array<mat2x4<f32>, PLAIN_STEPS>;
  for (var i = 0u; i < PLAIN_STEPS; i++) {
    let at = start + min(i * SUBGROUP + lane, COLUMNS / 8u - 1u);
    w[i] = $convert($load);
    if (i * SUBGROUP + lane >= COLUMNS / 8u) { w[i] = mat2x4<f32>(); }
  }
  for (var n = begin; n < end; n++) {
    var sum = 0.0;
    for (var i = 0u; i < PLAIN_STEPS; i++) {
      let at = n * (COLUMNS / 4u) + min(i * SUBGROUP + lane, COLUMNS / 8u - 1u);
      sum += dot(w[i][0], floats[at]) + dot(w[i][1], floats[at + COLUMNS / 8u]);
    }
    sum = subgroupAdd(sum);
    if (lane == 0u && row < ROWS$p) { store(n, START$p + row, sum); }
  }
}
