// Attention of tiles of rows over one of several ranges of keys: what is needed to join them.

@group(0) @binding(1) var<storage, read_write> sums: array<vec2<f32>>;   // [T, query heads, SPLITS, HEAD_DIM]
@group(0) @binding(2) var<storage, read_write> stats: array<vec2<f32>>;  // [T, query heads, SPLITS] (m, l)

fn finishRow(part: u32, m: f32, l: f32) { stats[part] = vec2<f32>(m, l); }

// Dimensions 2 · pair and 2 · pair + 1 of a row.
fn finishPair(token: u32, head: u32, part: u32, pair: u32, sum: vec2<f32>, l: f32) {
  sums[part * (HEAD_DIM / 2u) + pair] = sum;
}
