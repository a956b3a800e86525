// The tokens of a step: src/runner/batch-buffer.ts says how it is laid out.

override MAX_TOKENS: u32;
override MAX_SEQUENCES: u32;
override MAX_BLOCKS: u32;

@group(0) @binding(5) var<storage, read> batch: array<u32>;

const BATCH_HEADER = 8u;
const INACTIVE = 0xffffffffu;

fn tokenCount() -> u32 { return batch[0]; }
fn sequenceCount() -> u32 { return batch[1]; }

// The first so many sequences draw a token after their last row.
fn drawCount() -> u32 { return batch[2]; }

fn tokenAt(row: u32) -> u32 { return batch[BATCH_HEADER + row]; }

// INACTIVE for a row whose sequence has ended: nothing may be stored for it.
fn positionAt(row: u32) -> u32 { return batch[BATCH_HEADER + MAX_TOKENS + row]; }

// How many tokens a row sees: 0 for one of a sequence that has ended.
fn contextOf(row: u32) -> u32 { return select(positionAt(row) + 1u, 0u, positionAt(row) == INACTIVE); }

fn sequenceOf(row: u32) -> u32 { return batch[BATCH_HEADER + 2u * MAX_TOKENS + row]; }

// Rows of sequence s: sequenceStart(s) up to, but not including, sequenceStart(s + 1).
fn sequenceStart(s: u32) -> u32 { return batch[BATCH_HEADER + 3u * MAX_TOKENS + s]; }
fn stateSlot(s: u32) -> u32 { return batch[BATCH_HEADER + 3u * MAX_TOKENS + MAX_SEQUENCES + 1u + s]; }

// The KV block that holds token `index · BLOCK` of sequence s and those after it.
fn blockAt(s: u32, index: u32) -> u32 {
  return batch[BATCH_HEADER + 3u * MAX_TOKENS + 2u * MAX_SEQUENCES + 1u + s * MAX_BLOCKS + index];
}

struct RowTile { sequence: u32, first: u32, count: u32, start: u32 }

// Tile `index` when every sequence's rows are cut into tiles of `size`, in order: its first row, how many rows it has,
// and the sequence's own first row. `count` is 0 past the last tile. There are at most tokens / size + sequences tiles.
fn findRowTile(index: u32, size: u32) -> RowTile {
  var rest = index;
  for (var s = 0u; s < sequenceCount(); s++) {
    let start = sequenceStart(s);
    let end = sequenceStart(s + 1u);
    let tiles = (end - start + size - 1u) / size;
    if (rest < tiles) {
      let first = start + rest * size;
      return RowTile(s, first, min(size, end - first), start);
    }
    rest -= tiles;
  }
  return RowTile(0u, 0u, 0u, 0u);
}
