// Which pairs (row, expert) have the same expert. The workgroup of the first of them has them all, and those of the others have
// nothing to do.

@group(0) @binding(1) var<storage, read> ids: array<u32>;  // [rows, TOP_K], NOBODY where a row has no sequence

const NOBODY = 0xffffffffu;
const PAIRS = ROWS * TOP_K;
const LOOKS = (PAIRS + SUBGROUP - 1u) / SUBGROUP;

var<workgroup> found: array<u32, ROWS>;  // row · TOP_K + k, in any order: a row has an expert once at most
var<workgroup> foundCount: u32;

// How many `found` has of pair `pair`'s expert, for all threads at once; 0 unless it is the first of them. One subgroup
// looks, so that nobody waits for atomics, and all that it reads is on its way at once.
fn findPairs(pair: u32, thread: u32) -> u32 {
  if (thread < SUBGROUP) {
    let expert = ids[pair];
    var others: array<u32, LOOKS>;
    for (var i = 0u; i < LOOKS; i++) { others[i] = ids[min(i * SUBGROUP + thread, PAIRS - 1u)]; }
    let end = select(tokenCount() * TOP_K, 0u, expert == NOBODY);
    var own = 0u;
    var first = PAIRS;
    for (var i = 0u; i < LOOKS; i++) {
      let other = i * SUBGROUP + thread;
      if (other >= end || others[i] != expert) { continue; }
      own++;
      first = min(first, other);
    }
    var at = subgroupExclusiveAdd(own);
    for (var i = 0u; i < LOOKS; i++) {
      let other = i * SUBGROUP + thread;
      if (other >= end || others[i] != expert) { continue; }
      found[at] = other;
      at++;
    }
    let count = select(0u, subgroupAdd(own), subgroupMin(first) == pair);
    if (thread == 0u) { foundCount = count; }
  }
  return workgroupUniformLoad(&foundCount);
}
