  // One token of the gated delta rule for FOURS · 4 columns of S, old$f_$p, by a subgroup: with a = Sᵀk, b = Sᵀq of the old S,
  //   d = β (v − e^g a);  o = e^g b + (q·k) d;  S ← e^g S + k dᵀ
  var products = vec3<f32>();  // k·k, q·q, q·k
  products += vec3<f32>(dot(k$p, k$p), dot(q$p, q$p), dot(q$p, k$p));
  products = subgroupAdd(products);
  let keyScale = inverseSqrt(products.x + 1e-6);
  let queryScale = inverseSqrt((products.y + 1e-6) * f32(KEY_DIM));
  var S$f_$p = old$f_$p;
  if (position == 0u) { S$f_$p = mat4x4<f32>(); }
  var a$f = vec4<f32>();
  var b$f = vec4<f32>();
  a$f += k$p * S$f_$p;
  b$f += q$p * S$f_$p;
  a$f = subgroupAdd(a$f);
  b$f = subgroupAdd(b$f);
  let d$f = strength * (v$f - (decay * keyScale) * a$f);
  let y$f = (decay * queryScale) * b$f + (queryScale * keyScale * products.z) * d$f;
  if (lane == 0u && first + $fu < values) { keepOutput(row, head, first + $fu, y$f); }
  let isKept$f_$p = $pu * LANES + lane < keys && first + $fu < values;
  if (isKept$f_$p) { state[at$f + key$p] = decay * S$f_$p[0] + k$p * (keyScale * d$f.x); }
  if (isKept$f_$p) { state[at$f + key$p + keys] = decay * S$f_$p[1] + k$p * (keyScale * d$f.y); }
  if (isKept$f_$p) { state[at$f + key$p + 2u * keys] = decay * S$f_$p[2] + k$p * (keyScale * d$f.z); }
  if (isKept$f_$p) { state[at$f + key$p + 3u * keys] = decay * S$f_$p[3] + k$p * (keyScale * d$f.w); }
