// The first half of an expert: hidden [rows, TOP_K, INNER] = silu(gate x) · (up x). At place p are two gate rows from
// 2 · p on and the two up rows that belong to them.

fn inputColumns() -> u32 { return COLUMNS; }

fn inputRow(pair: u32) -> u32 { return pair / TOP_K; }

fn weightRows(expert: u32, place: u32) -> vec4<u32> {
  let i = vec2(min(2u * place, INNER - 1u), min(2u * place + 1u, INNER - 1u));
  return vec4(i, i + INNER) + expert * 2u * INNER;
}

fn store(pair: u32, place: u32, sums: vec4<f32>) {
  let i = 2u * place;
  if (i < INNER) { y[pair * INNER + i] = silu(sums[0]) * sums[2]; }
  if (i + 1u < INNER) { y[pair * INNER + i + 1u] = silu(sums[1]) * sums[3]; }
}
