@group(0) @binding(6) var<storage, read_write> keys: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> values: array<vec2<f32>>;

// Elements 2 · index and 2 · index + 1.
fn storeKeys(index: u32, pair: vec2<f32>) { keys[index] = pair; }
fn storeValues(index: u32, pair: vec2<f32>) { values[index] = pair; }
