// Finds where the chosen experts lie, and notes them for the host. Where one is missing the rest of the plan is stopped: with no tokens, sequences and draws in the batch, kernels touch no
// state. In a pass
// over some of the experts (PARTIAL) nothing is stopped, and what is missing stays out. One workgroup.

override WORKGROUP: u32;
override EXPERTS: u32;
override TOP_K: u32;
override LAYER: u32;
override CHOSEN_AT: u32;  // in the report
override MAX_TOKENS: u32;

@group(0) @binding(0) var<storage, read> ids: array<u32>;                 // [rows, TOP_K]
@group(0) @binding(1) var<storage, read> table: array<u32>;               // [layers, EXPERTS], slot or MISSING
@group(0) @binding(2) var<storage, read_write> slots: array<u32>;         // [rows, TOP_K], slot or MISSING
@group(0) @binding(3) var<storage, read_write> report: array<u32>;        // src/paging/report.ts
@group(0) @binding(4) var<storage, read_write> batchState: array<u32>;

const MISSING = 0xffffffffu;
const INACTIVE = 0xffffffffu;
const BATCH_HEADER = 8u;
const PARTIAL = 1u;
const COUNTS = 3u;

var<workgroup> isMissing: atomic<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  let rows = batchState[0];
  if (lane == 0u) { atomicStore(&isMissing, 0u); }
  workgroupBarrier();
  for (var i = lane; i < rows * TOP_K; i += WORKGROUP) {
    let isActive = batchState[BATCH_HEADER + MAX_TOKENS + i / TOP_K] != INACTIVE;
    let id = ids[i];
    let slot = table[LAYER * EXPERTS + min(id, EXPERTS - 1u)];
    // What a sequence that has ended would choose is nobody's concern, but must lie somewhere.
    slots[i] = select(select(slot, 0u, slot == MISSING), slot, isActive);
    report[CHOSEN_AT + i] = select(MISSING, id, isActive);
    if (isActive && slot == MISSING) { atomicStore(&isMissing, 1u); }
  }
  storageBarrier();
  workgroupBarrier();
  if (lane != 0u || rows == 0u) { return; }
  for (var i = 0u; i < COUNTS; i++) { report[2u + i] = batchState[i]; }
  if (atomicLoad(&isMissing) == 1u && report[1] != PARTIAL) {
    report[0] = LAYER + 1u;
    for (var i = 0u; i < COUNTS; i++) { batchState[i] = 0u; }
  }
}
