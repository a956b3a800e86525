// Sums and maxima over a workgroup of WORKGROUP threads, through subgroups of any size.
// Every thread gets the result. Calls must be uniform.

var<workgroup> reduceScratch: array<f32, WORKGROUP>;

// How many lanes of the workgroup share a subgroup. Lanes are taken to fill subgroups in order.
fn subgroupWidth() -> u32 { return subgroupAdd(1u); }

fn workgroupSum(value: f32, lane: u32) -> f32 {
  let width = subgroupWidth();
  let partial = subgroupAdd(value);
  workgroupBarrier();
  reduceScratch[lane] = partial;
  workgroupBarrier();
  // Lanes hold their subgroup's sum; the first lane of each subgroup stands for it.
  var sum = 0.0;
  for (var i = 0u; i < WORKGROUP; i += width) { sum += reduceScratch[i]; }
  return sum;
}

fn workgroupMax(value: f32, lane: u32) -> f32 {
  let width = subgroupWidth();
  let partial = subgroupMax(value);
  workgroupBarrier();
  reduceScratch[lane] = partial;
  workgroupBarrier();
  var result = reduceScratch[0];
  for (var i = 0u; i < WORKGROUP; i += width) { result = max(result, reduceScratch[i]); }
  return result;
}
