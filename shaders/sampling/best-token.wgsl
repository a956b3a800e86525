// The largest logit of a workgroup, the lowest id that has it, and whether all logits were finite.

const LOWEST = -3.0e38;

var<workgroup> best: array<f32, WORKGROUP>;
var<workgroup> bestId: array<u32, WORKGROUP>;
var<workgroup> isFinite: array<u32, WORKGROUP>;

fn keepBest(lane: u32, value: f32, id: u32, finite: u32) {
  best[lane] = value;
  bestId[lane] = id;
  isFinite[lane] = finite;
}

// Lets every multiple of 2 · step, where `step` lanes hold what is best among so many, hold the best of twice as many.
fn mergeBest(lane: u32, step: u32) {
  workgroupBarrier();
  if (lane % (2u * step) == 0u) {
    let other = lane + step;
    if (best[other] > best[lane] || (best[other] == best[lane] && bestId[other] < bestId[lane])) {
      best[lane] = best[other];
      bestId[lane] = bestId[other];
    }
    isFinite[lane] &= isFinite[other];
  }
}
