fn plus4(row: u32, first: u32) -> vec4<f32> { return vec4<f32>(); }
