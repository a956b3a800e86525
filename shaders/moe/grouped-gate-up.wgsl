// hidden [rows, TOP_K, INNER] = silu(gate x) · (up x). Of a block's 64 weight rows, 32 are gate rows and 32 are the up rows
// that belong to them, so that a thread has both halves of its outputs.

fn inputColumns() -> u32 { return COLUMNS; }

fn inputRow(pair: u32) -> u32 { return pair / TOP_K; }

fn weightRow(expert: u32, block: u32, row: u32) -> u32 {
  return (expert * 2u + row / 32u) * INNER + min(block * 32u + row % 32u, INNER - 1u);
}

fn store(pair: u32, block: u32, column: u32, sums: vec4<f32>) {
  let i = block * 32u + column;
  if (i < INNER) { output[pair * INNER + i] = silu(sums[0]) * sums[2]; }
  if (i + 16u < INNER) { output[pair * INNER + i + 16u] = silu(sums[1]) * sums[3]; }
}
