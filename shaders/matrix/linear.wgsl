// y = x·Wᵀ (+ plus) for many rows of x. Grid: [tiles of rows, tiles of W's rows].

override ROWS: u32;
override INPUT_ROWS: u32;

@group(0) @binding(3) var<storage, read> scales: array<f32>;  // [rows], what x was divided by

struct Tile { row: u32, count: u32, column: u32 }

fn findTile(group: vec3<u32>) -> Tile {
  let row = group.x * TILE_ROWS;
  // Rows are tokens or sequences, and there are never more sequences than tokens.
  let end = min(tokenCount(), INPUT_ROWS);
  return Tile(row, min(TILE_ROWS, end - min(end, row)), group.y * TILE_COLUMNS);
}

fn inputRow(tile: Tile, row: u32) -> u32 { return tile.row + row; }

fn weightRow(tile: Tile, row: u32) -> u32 { return min(tile.column + row, ROWS - 1u); }

fn finish(tile: Tile, row: u32, column: u32, base: u32, lane: u32) {
  for (var e = lane; e < M * N / 4u; e += LANES) {
    let r = row + e / (N / 4u);
    if (r < tile.count) {
      store4(tile.row + r, tile.column + column + 4u * (e % (N / 4u)), scales[tile.row + r] * result(base + e));
    }
  }
}
