// Queries and keys are RMS-normalised per head and rotated; keys and values go into the cache.
// One workgroup per row and head: the query heads, then the key-value heads.
//   n = x / sqrt(mean(x²) + eps) · weight
//   y[i]        = n[i] cos − n[i + R/2] sin       for i < R/2, R = ROTARY_DIM
//   y[i + R/2]  = n[i + R/2] cos + n[i] sin       the dimensions from R on pass

override WORKGROUP: u32;
override QUERY_HEADS: u32;
override ROTARY_DIM: u32;
override QUERY_EPS: f32;
override KEY_EPS: f32;
override QKV_OFFSET: u32;
override QKV_STRIDE: u32;

@group(0) @binding(0) var<storage, read> qkv: array<f32>;            // [T, per query head q | gate, keys, values], a view
@group(0) @binding(1) var<storage, read> queryFactor: array<f32>;    // [HEAD_DIM]
@group(0) @binding(2) var<storage, read> keyFactor: array<f32>;      // [HEAD_DIM]
@group(0) @binding(3) var<storage, read> rope: array<f32>;           // [position][cos | sin][ROTARY_DIM / 2]
@group(0) @binding(4) var<storage, read_write> queries: array<vec2<f32>>;  // [T, QUERY_HEADS · HEAD_DIM]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = group.x;
  let row = group.y;
  if (row >= tokenCount() || positionAt(row) == INACTIVE) { return; }
  let position = positionAt(row);
  let isQuery = head < QUERY_HEADS;
  let keyHead = head - QUERY_HEADS;
  let source = QKV_OFFSET + row * QKV_STRIDE + select(QUERY_HEADS * 2u + keyHead, head * 2u, isQuery) * HEAD_DIM;

  var squares = 0.0;
  for (var i = lane; i < HEAD_DIM; i += WORKGROUP) { squares += qkv[source + i] * qkv[source + i]; }
  let eps = select(KEY_EPS, QUERY_EPS, isQuery);
  let scale = inverseSqrt(workgroupSum(squares, lane) / f32(HEAD_DIM) + eps);

  var out = (row * QUERY_HEADS + head) * (HEAD_DIM / 2u);
  if (!isQuery) { out = cacheRow(sequenceOf(row), keyHead, position) * (HEAD_DIM / 2u); }
  for (var pair = lane; pair < HEAD_DIM / 2u; pair += WORKGROUP) {
    let i = 2u * pair;
    let y = scale * vec2<f32>(rotated(source, isQuery, i, position), rotated(source, isQuery, i + 1u, position));
    if (isQuery) {
      queries[out + pair] = y;
    } else {
      storeKeys(out + pair, y);
      let value = source + KEY_VALUE_HEADS * HEAD_DIM + i;
      storeValues(out + pair, vec2<f32>(qkv[value], qkv[value + 1u]));
    }
  }
}

fn rotated(source: u32, isQuery: bool, i: u32, position: u32) -> f32 {
  let n = weighted(source, isQuery, i);
  if (i >= ROTARY_DIM) { return n; }
  let half = ROTARY_DIM / 2u;
  let angle = position * ROTARY_DIM + i % half;
  let isFirst = i < half;
  let other = weighted(source, isQuery, select(i - half, i + half, isFirst));
  return n * rope[angle] + select(other, -other, isFirst) * rope[angle + half];
}

fn weighted(source: u32, isQuery: bool, i: u32) -> f32 {
  if (isQuery) { return qkv[source + i] * queryFactor[i]; }
  return qkv[source + i] * keyFactor[i];
}
