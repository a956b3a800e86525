// How the cached tokens of a row are shared out: SPLITS ranges of whole tiles, of which short contexts use a few.

override SPLITS: u32;
override TILE_TOKENS: u32 = 1u;  // rows that share ranges

const TILE = 32u;

// Tokens of each range; the last may have fewer.
fn splitSpan(length: u32) -> u32 {
  let tiles = (length + TILE - 1u) / TILE;
  return (tiles + SPLITS - 1u) / SPLITS * TILE;
}

// Tokens that ranges share out: a row's own, or, where several rows of a sequence share ranges, the last one's.
fn spannedLength(row: u32) -> u32 {
  if (TILE_TOKENS == 1u) { return contextOf(row); }
  return contextOf(sequenceStart(sequenceOf(row) + 1u) - 1u);
}
