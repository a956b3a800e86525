// The sum over a team of LANES neighbouring threads, where that is just a subgroup. Calls must be uniform.

override WORKGROUP: u32;
override LANES: u32;

fn teamSum(value: vec4<f32>, slot: u32, lane: u32) -> vec4<f32> { return subgroupAdd(value); }
