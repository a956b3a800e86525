// Part $p: packed weights. A subgroup takes ROWS_PER_TEAM rows; everything it needs of them is on its way before the input is.
override ROWS$p: u32;
override START$p: u32;

@group(0) @binding($a) var<storage, read> weight$p: array<vec4<u32>>;
@group(0) @binding($b) var<storage, read> weight$pScales: array<u32>;

fn part$p(group: u32, thread: u32) {
  let lane = thread % LANES;
  let first = (group * TEAMS + thread / LANES) * ROWS_PER_TEAM;
  // The input comes before the weights: it has further to go.
  var raws: array<Raw, ROUNDS>;
  for (var r = 0u; r < ROUNDS; r++) { raws[r] = fetchInput(r * WORKGROUP + thread); }
  var w: array<array<vec4<u32>, BLOCK_WORDS>, ROWS_PER_TEAM * STEPS>;
  var s: array<u32, ROWS_PER_TEAM * STEPS>;
  for (var r = 0u; r < ROWS_PER_TEAM; r++) {
    let start = min(first + r, ROWS$p - 1u) * BLOCKS;
    for (var i = 0u; i < STEPS; i++) {
      let block = start + min(i * LANES + lane, BLOCKS - 1u);
      for (var k = 0u; k < BLOCK_WORDS; k++) { w[r * STEPS + i][k] = weight$p[block * BLOCK_WORDS + k]; }
      s[r * STEPS + i] = weight$pScales[scaleWord(block)];
    }
  }
  for (var r = 0u; r < ROUNDS; r++) {
    let i = r * WORKGROUP + thread;
    stageDigits(i, inputOf(raws[r], i, thread), 1.0);
  }
  workgroupBarrier();
  var sums: array<f32, ROWS_PER_TEAM>;
  for (var i = 0u; i < STEPS; i++) {
    let block = i * LANES + lane;
    let x = stagedBlock(min(block, BLOCKS - 1u));
    for (var r = 0u; r < ROWS_PER_TEAM; r++) {
      let index = min(first + r, ROWS$p - 1u) * BLOCKS + min(block, BLOCKS - 1u);
      let part = blockDot(w[r * STEPS + i], s[r * STEPS + i], index, x);
      sums[r] += select(0.0, part, block < BLOCKS);
    }
  }
  let scale = inputScale();
  for (var r = 0u; r < ROWS_PER_TEAM; r++) {
    let sum = scale * subgroupAdd(sums[r]);
    if (lane == 0u && first + r < ROWS$p) { store(START$p + first + r, sum); }
  }
}
