// Sums and maxima over a workgroup of WORKGROUP threads (a power of two), through workgroup memory.
// Every thread gets the result. Calls must be uniform.

var<workgroup> reduceScratch: array<f32, WORKGROUP>;

fn workgroupSum(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  reduceScratch[lane] = value;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { reduceScratch[lane] += reduceScratch[lane + half]; }
  }
  workgroupBarrier();
  return reduceScratch[0];
}

fn workgroupMax(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  reduceScratch[lane] = value;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { reduceScratch[lane] = max(reduceScratch[lane], reduceScratch[lane + half]); }
  }
  workgroupBarrier();
  return reduceScratch[0];
}
