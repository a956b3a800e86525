// Sums and maxima over a workgroup that is one subgroup. Every thread gets the result. Calls must be uniform.

fn workgroupSum(value: f32, lane: u32) -> f32 { return subgroupAdd(value); }

fn workgroupMax(value: f32, lane: u32) -> f32 { return subgroupMax(value); }
