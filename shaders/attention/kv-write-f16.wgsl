// Two f16 in a word; needs no f16 feature.
@group(0) @binding(6) var<storage, read_write> keys: array<u32>;
@group(0) @binding(7) var<storage, read_write> values: array<u32>;

// What lies outside f16 becomes its largest value: packing it would leave the result open.
fn pack(pair: vec2<f32>) -> u32 { return pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0))); }

// Elements 2 · index and 2 · index + 1.
fn storeKeys(index: u32, pair: vec2<f32>) { keys[index] = pack(pair); }
fn storeValues(index: u32, pair: vec2<f32>) { values[index] = pack(pair); }
