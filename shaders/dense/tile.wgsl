// What all matrix products share: a piece of four rows of W.

override COLUMNS: u32;
override ROWS: u32;
override INPUT_ROWS: u32;

struct WeightTile { low: mat4x4<f32>, high: mat4x4<f32> }

// Chunk c of the rows first … first + 3 of W, as columns: v · tile is four dot products.
fn weightTile(first: u32, c: u32) -> WeightTile {
  let chunks = COLUMNS / 8u;
  let a = weight8(min(first, ROWS - 1u) * chunks + c);
  let b = weight8(min(first + 1u, ROWS - 1u) * chunks + c);
  let d = weight8(min(first + 2u, ROWS - 1u) * chunks + c);
  let e = weight8(min(first + 3u, ROWS - 1u) * chunks + c);
  return WeightTile(mat4x4<f32>(a[0], b[0], d[0], e[0]), mat4x4<f32>(a[1], b[1], d[1], e[1]));
}
