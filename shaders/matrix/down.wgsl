// The second half of an expert: y [pairs, OUTPUTS] = down · hidden.

override OUTPUTS: u32;

fn inputRow(tile: Tile, row: u32) -> u32 { return pairs[tile.first + row]; }

fn weightRow(tile: Tile, row: u32) -> u32 { return tile.expert * OUTPUTS + min(tile.column + row, OUTPUTS - 1u); }

fn finish(tile: Tile, row: u32, column: u32, base: u32, lane: u32) {
  for (var e = lane; e < M * N / 4u; e += LANES) {
    let r = row + e / (N / 4u);
    let o = tile.column + column + 4u * (e % (N / 4u));
    if (r < tile.count && o < OUTPUTS) {
      let pair = pairs[tile.first + r];
      y[(pair * OUTPUTS + o) / 4u] = scales[pair] * result(base + e);
    }
  }
}
