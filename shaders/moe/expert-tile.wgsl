// A piece of four rows of an expert's weights, for all products with experts.

override COLUMNS: u32;
override INNER: u32;
override TOP_K: u32;

struct WeightTile { low: mat4x4<f32>, high: mat4x4<f32> }

// Chunk c of rows that start at the given chunks, as columns: v · tile is four dot products.
fn weightTile(starts: vec4<u32>, c: u32) -> WeightTile {
  let p = weight8(starts.x + c);
  let q = weight8(starts.y + c);
  let r = weight8(starts.z + c);
  let s = weight8(starts.w + c);
  return WeightTile(mat4x4<f32>(p[0], q[0], r[0], s[0]), mat4x4<f32>(p[1], q[1], r[1], s[1]));
}
