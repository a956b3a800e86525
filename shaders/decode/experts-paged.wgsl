// Experts lie in slots; what is noted of them is as in moe/locate-experts.wgsl, for the one row there is.

override LAYER: u32;
override CHOSEN_AT: u32;
override MAX_TOKENS: u32;

@group(0) @binding(5) var<storage, read_write> batchState: array<u32>;
@group(0) @binding(8) var<storage, read> table: array<u32>;         // [layers, EXPERTS], slot or MISSING
@group(0) @binding(9) var<storage, read_write> report: array<u32>;  // src/paging/report.ts

const MISSING = 0xffffffffu;
const INACTIVE = 0xffffffffu;
const BATCH_HEADER = 8u;
const COUNTS = 3u;

// Where an expert is missing its layer runs again, and any will do.
fn slotOf(expert: u32) -> u32 {
  let slot = table[LAYER * EXPERTS + expert];
  return select(slot, 0u, slot == MISSING);
}

// By one thread, when the experts have been chosen.
fn noteExperts() {
  if (batchState[0] == 0u) { return; }
  let isActive = batchState[BATCH_HEADER + MAX_TOKENS] != INACTIVE;
  var isMissing = false;
  for (var k = 0u; k < TOP_K; k++) {
    report[CHOSEN_AT + k] = select(MISSING, chosen[k], isActive);
    isMissing |= isActive && table[LAYER * EXPERTS + chosen[k]] == MISSING;
  }
  for (var i = 0u; i < COUNTS; i++) { report[2u + i] = batchState[i]; }
  if (!isMissing) { return; }
  report[0] = LAYER + 1u;
  for (var i = 0u; i < COUNTS; i++) { batchState[i] = 0u; }
}
