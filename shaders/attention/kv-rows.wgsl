// Where a token's keys and values are: caches are [block][KEY_VALUE_HEADS][token in block][HEAD_DIM].

override BLOCK: u32;
override KEY_VALUE_HEADS: u32;
override HEAD_DIM: u32;

// Index of the row of HEAD_DIM values of one head at one position.
fn cacheRow(sequence: u32, head: u32, position: u32) -> u32 {
  return (blockAt(sequence, position / BLOCK) * KEY_VALUE_HEADS + head) * BLOCK + position % BLOCK;
}
