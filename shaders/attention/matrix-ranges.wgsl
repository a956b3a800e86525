// Attention by matrices over one of several ranges of keys: what is needed to join them.

@group(0) @binding(1) var<storage, read_write> sums: array<vec4<f32>>;   // [T, query heads, SPLITS, HEAD_DIM]
@group(0) @binding(2) var<storage, read_write> stats: array<vec2<f32>>;  // [T, query heads, SPLITS] (m, l)

fn finishRow(place: Place, row: u32, m: f32, l: f32) { stats[partOf(place, row)] = vec2<f32>(m, l); }

// Dimensions i … i + 3 of a row.
fn finishSums(place: Place, row: u32, i: u32, part: vec4<f32>) { sums[(partOf(place, row) * HEAD_DIM + i) / 4u] = part; }

fn partOf(place: Place, row: u32) -> u32 {
  let token = place.tile.first + row / HEADS;
  let head = place.firstHead + row % HEADS;
  return (token * GROUP * KEY_VALUE_HEADS + head) * SPLITS + place.split;
}
