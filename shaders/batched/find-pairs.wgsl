// Which pairs (row, expert) have the same expert. The workgroup of the first of them finds all, and those of the others have nothing to do.

@group(0) @binding(1) var<storage, read> ids: array<u32>;  // [rows, TOP_K], NOBODY where a row has no sequence

const NOBODY = 0xffffffffu;
const LATER = 0x10000u;

var<workgroup> found: array<u32, ROWS>;  // row · TOP_K + k, in any order: a row has an expert once at most
var<workgroup> foundCount: atomic<u32>;
var<workgroup> pairCount: u32;

// How many `found` has of pair `pair`'s expert, for all threads at once; 0 unless it is the first of them.
fn findPairs(pair: u32, thread: u32) -> u32 {
  let end = tokenCount() * TOP_K;
  if (pair >= end) { return 0u; }
  let expert = ids[pair];
  if (expert == NOBODY) { return 0u; }
  if (thread == 0u) { atomicStore(&foundCount, 0u); }
  workgroupBarrier();
  for (var i = thread; i < end; i += WORKGROUP) {
    if (ids[i] == expert) {
      if (i < pair) { atomicAdd(&foundCount, LATER); }
      else { found[atomicAdd(&foundCount, 1u) % LATER] = i; }
    }
  }
  workgroupBarrier();
  if (thread == 0u) {
    let count = atomicLoad(&foundCount);
    pairCount = select(count, 0u, count >= LATER);
  }
  return workgroupUniformLoad(&pairCount);
}
