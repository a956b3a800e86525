// A subgroup works on a row together, and knows its sum without workgroup memory. Lanes are taken to fill subgroups in
// order. Calls must be uniform in the subgroup.

fn teamSize() -> u32 { return subgroupAdd(1u); }

fn teamSum(value: f32, lane: u32) -> f32 { return subgroupAdd(value); }
