// Attention of tiles of rows over all keys at once: y = o / l · σ(gate).

override QKV_OFFSET: u32;
override QKV_STRIDE: u32;

@group(0) @binding(1) var<storage, read> qkv: array<f32>;            // [T, per query head q | gate, …], a view
@group(0) @binding(2) var<storage, read_write> y: array<vec2<f32>>;  // [T, query heads · HEAD_DIM]

fn finishRow(part: u32, m: f32, l: f32) {}

// Dimensions 2 · pair and 2 · pair + 1 of a row.
fn finishPair(token: u32, head: u32, part: u32, pair: u32, sum: vec2<f32>, l: f32) {
  let gates = QKV_OFFSET + token * QKV_STRIDE + (2u * head + 1u) * HEAD_DIM + 2u * pair;
  let gate = vec2<f32>(qkv[gates], qkv[gates + 1u]);
  y[part * (HEAD_DIM / 2u) + pair] = sum / l / (1.0 + exp(clamp(-gate, vec2<f32>(-80.0), vec2<f32>(80.0))));
}
