// The first half of an expert: y [rows, TOP_K, INNER] = silu(gate x) · (up x). Each matrix of W has rows of gate in its first
// half and the rows of up that belong to them in its second, so that both meet in one result.

const HALF = N / 2u;

fn inputRow(tile: Tile, row: u32) -> u32 { return pairs[tile.first + row] / TOP_K; }

fn weightRow(tile: Tile, row: u32) -> u32 {
  let i = min((tile.column + row) / N * HALF + row % HALF, INNER - 1u);
  return tile.expert * 2u * INNER + i + select(0u, INNER, row % N >= HALF);
}

fn finish(tile: Tile, row: u32, column: u32, base: u32, lane: u32) {
  for (var e = lane; e < M * HALF / 4u; e += LANES) {
    let r = row + e / (HALF / 4u);
    let i = (tile.column + column) / 2u + 4u * (e % (HALF / 4u));
    if (r < tile.count && i < INNER) {
      let pair = pairs[tile.first + r];
      let scale = scales[pair / TOP_K];
      let at = base + e / (HALF / 4u) * (N / 4u) + e % (HALF / 4u);
      let gate = scale * result(at);
      let gated = vec4<f32>(silu(gate.x), silu(gate.y), silu(gate.z), silu(gate.w));
      y[(pair * INNER + i) / 4u] = gated * scale * result(at + HALF / 4u);
    }
  }
}
