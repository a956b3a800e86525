// Elements 8 · index … of the input.
fn input8(index: u32, thread: u32) -> mat2x4<f32> { return x8(index); }

fn inputScale() -> f32 { return 1.0; }
