// Part $p: packed weights. A team of LANES takes ROWS_PER_TEAM rows, which stay in registers for all rows of the input.
override ROWS$p: u32;
override START$p: u32;

@group(0) @binding($a) var<storage, read> weight$p: array<vec4<u32>>;
@group(0) @binding($b) var<storage, read> weight$pScales: array<u32>;

fn load$p(at: u32) -> array<vec4<u32>, BLOCK_WORDS> {
  var w: array<vec4<u32>, BLOCK_WORDS>;
  for (var k = 0u; k < BLOCK_WORDS; k++) { w[k] = weight$p[at * BLOCK_WORDS + k]; }
  return w;
}

fn part$p(group: u32, thread: u32, begin: u32, end: u32) {
  let lane = thread % LANES;
  let first = (group * TEAMS + thread / LANES) * ROWS_PER_TEAM;
  let at$r_$i = min(first + $ru, ROWS$p - 1u) * BLOCKS + min($iu * LANES + lane, BLOCKS - 1u);
  let w$r_$i = load$p(at$r_$i);
  let s$r_$i = blockScale(weight$pScales[scaleWord(at$r_$i)], at$r_$i);
$loop $n
    if (lane == 0u && first + $ru < ROWS$p) { store(n + $tu, START$p + first + $ru, y$r_$t); }
$end
}
