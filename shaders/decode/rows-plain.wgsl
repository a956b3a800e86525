// Part $p: floats. A subgroup takes one row; its first loads are on their way before the input is.
override ROWS$p: u32;
override START$p: u32;

@group(0) @binding($a) var<storage, read> weight$p: array<$vector>;

fn part$p(group: u32, thread: u32) {
  let lane = thread % LANES;
  let row = group * TEAMS + thread / LANES;
  let start = min(row, ROWS$p - 1u) * (COLUMNS / 8u);
  var raws: array<Raw, ROUNDS>;
  for (var r = 0u; r < ROUNDS; r++) { raws[r] = fetchInput(r * WORKGROUP + thread); }
  var w: array<$eight, PLAIN_STEPS>;
  for (var i = 0u; i < PLAIN_STEPS; i++) { 
    let at = start + min(i * LANES + lane, COLUMNS / 8u - 1u);
    w[i] = $load;
  }
  for (var r = 0u; r < ROUNDS; r++) {
    let i = r * WORKGROUP + thread;
    let x = inputOf(raws[r], i, thread);
    if (i < COLUMNS / 8u) {
      plainX[i] = x[0];
      plainX[COLUMNS / 8u + i] = x[1];
    }
  }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < PLAIN_STEPS; i++) {
    let at = i * LANES + lane;
    if (at < COLUMNS / 8u) {
      let v = $convert(w[i]);
      sum += dot(v[0], plainX[at]) + dot(v[1], plainX[COLUMNS / 8u + at]);
    }
  }
  sum = inputScale() * subgroupAdd(sum);
  if (lane == 0u && row < ROWS$p) { store(START$p + row, sum); }
}
