// Tells the chosen experts that lie here from those that lie elsewhere. Those here become slots; what lies elsewhere, or was chosen for a sequence that has ended, weighs nothing here.
// Notes all choices and their weights for the host. One workgroup.

override WORKGROUP: u32;
override EXPERTS: u32;
override TOP_K: u32;
override LAYER: u32;
override CHOSEN_AT: u32;   // in the report
override WEIGHTS_AT: u32;

@group(0) @binding(0) var<storage, read> ids: array<u32>;             // [rows, TOP_K]
@group(0) @binding(1) var<storage, read> routing: array<f32>;         // [rows, TOP_K]
@group(0) @binding(2) var<storage, read> table: array<u32>;           // [layers, EXPERTS], slot or MISSING
@group(0) @binding(3) var<storage, read_write> slots: array<u32>;     // [rows, TOP_K]
@group(0) @binding(4) var<storage, read_write> shares: array<f32>;    // [rows, TOP_K]
@group(0) @binding(6) var<storage, read_write> report: array<u32>;    // src/paging/report.ts

const MISSING = 0xffffffffu;
const COUNTS = 3u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  for (var i = lane; i < tokenCount() * TOP_K; i += WORKGROUP) {
    let isActive = positionAt(i / TOP_K) != INACTIVE;
    let id = min(ids[i], EXPERTS - 1u);
    let slot = table[LAYER * EXPERTS + id];
    let isHere = isActive && slot != MISSING;
    slots[i] = select(0u, slot, isHere);
    shares[i] = select(0.0, routing[i], isHere);
    report[CHOSEN_AT + i] = select(MISSING, id, isActive);
    report[WEIGHTS_AT + i] = bitcast<u32>(routing[i]);
  }
  if (lane < COUNTS) { report[2u + lane] = batch[lane]; }
}
