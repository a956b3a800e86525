struct Raw { x: mat2x4<f32> }

fn fetchInput(index: u32) -> Raw { return Raw(x8(index)); }

// Elements 8 · index … of the input.
fn inputOf(raw: Raw, index: u32, thread: u32) -> mat2x4<f32> { return raw.x; }

fn inputScale() -> f32 { return 1.0; }
