// Attention by matrices over all keys at once: y = o / l · σ(gate).

override QKV_OFFSET: u32;
override QKV_STRIDE: u32;

@group(0) @binding(1) var<storage, read> qkv: array<f32>;            // [T, per query head q | gate, …], a view
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;  // [T, query heads · HEAD_DIM]

// A row of a sequence that has ended sees nothing.
fn finishRow(place: Place, row: u32, m: f32, l: f32) { factors[row] = 1.0 / max(l, 1e-30); }

// Dimensions i … i + 3 of a row.
fn finishSums(place: Place, row: u32, i: u32, sums: vec4<f32>) {
  let token = place.tile.first + row / HEADS;
  let head = place.firstHead + row % HEADS;
  let at = QKV_OFFSET + token * QKV_STRIDE + (2u * head + 1u) * HEAD_DIM + i;
  let gate = vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
  let opened = factors[row] * sums / (1.0 + exp(clamp(-gate, vec4<f32>(-80.0), vec4<f32>(80.0))));
  y[((token * GROUP * KEY_VALUE_HEADS + head) * HEAD_DIM + i) / 4u] = opened;
}
