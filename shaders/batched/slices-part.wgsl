// Part $p.
override ROWS$p: u32;
override START$p: u32;

fn part$p(group: u32, thread: u32, row: u32) {
  let slice = thread / LANES;
  let lane = thread % LANES;
  let own = slice * N * STRIDE;
  let turns = COLUMNS / (SLICES * STEP);
  let first = group * N;
  let wGroup = lane % GROUPS;
  let wRow = lane / GROUPS;
  let wStart = min(first + wRow, ROWS$p - 1u) * (COLUMNS / 32u) + slice * GROUPS + wGroup;
  let xStart = row * (COLUMNS / 8u) + slice * DEPTH * MATRIX;

  var w = fetch32_$p(wStart);
  var sum$i: Result;
  for (var turn = 0u; turn < turns; turn++) {
    let x = xStart + turn * SLICES * DEPTH * MATRIX;
    let a$k_$i = subgroupMatrixLoad<Left, row_major>(&halves, x + $iu * M * (COLUMNS / 8u) + $ku * MATRIX, K / 8u);
    workgroupBarrier();
    bring$p(w, own + wRow * STRIDE + 4u * wGroup);
    workgroupBarrier();
    let next = min(turn + 1u, turns - 1u) * SLICES * GROUPS;
    w = fetch32_$p(wStart + next);
    let b$k = subgroupMatrixLoad<Right, col_major>(&shared4, own + $ku * (K / 8u), STRIDE);
    sum$i = subgroupMatrixMultiplyAccumulate(a$k_$i, b$k, sum$i);
  }
  workgroupBarrier();
  let base = slice * ROW_MATRICES * RESULT;
  subgroupMatrixStore<row_major>(&shared4, base + $iu * RESULT, sum$i, N / 4u);
  workgroupBarrier();
  let end = min(row + TILE_ROWS, tokenCount());
  for (var e = thread; e < ROW_MATRICES * RESULT; e += SLICES * LANES) {
    let r = row + e / (N / 4u);
    let column = first + 4u * (e % (N / 4u));
    var sum = vec4<f32>();
    for (var s = 0u; s < SLICES; s++) { sum += bitcast<vec4<f32>>(shared4[s * ROW_MATRICES * RESULT + e]); }
    if (r < end) {
      sum *= halfScales[r];
      for (var c = 0u; c < 4u; c++) {
        if (column + c < ROWS$p) { store(r, START$p + column + c, sum[c]); }
      }
    }
  }
}

fn bring$p(p: Packed_$p, at: u32) {
  shared4[at] = halves8_$p(p, 0u);
  shared4[at + 1u] = halves8_$p(p, 1u);
  shared4[at + 2u] = halves8_$p(p, 2u);
  shared4[at + 3u] = halves8_$p(p, 3u);
}
