// How the cached tokens of a row are shared out: SPLITS ranges of whole tiles, of which short contexts use a few.

override SPLITS: u32;

const TILE = 32u;

// Tokens of each range; the last may have fewer.
fn splitSpan(length: u32) -> u32 {
  let tiles = (length + TILE - 1u) / TILE;
  return (tiles + SPLITS - 1u) / SPLITS * TILE;
}
