// Tiles of pairs (token, slot) that chose one expert, as `group-tokens` cut them. Grid: [tiles, tiles of the expert's rows].

override INNER: u32;
override TOP_K: u32;

@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> pairs: array<u32>;        // [rows · TOP_K], by expert
@group(0) @binding(3) var<storage, read> scales: array<f32>;       // of rows of x
@group(0) @binding(4) var<storage, read> tiles: array<vec4<u32>>;  // (expert, first in pairs, count, 0)

struct Tile { expert: u32, first: u32, count: u32, column: u32 }

fn findTile(group: vec3<u32>) -> Tile {
  let tile = tiles[group.x];
  return Tile(tile.x, tile.y, tile.z, group.y * TILE_COLUMNS);
}
