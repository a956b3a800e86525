// [rows, TOP_K, COLUMNS] = down hidden.

fn inputColumns() -> u32 { return INNER; }

fn inputRow(pair: u32) -> u32 { return pair; }

fn weightRow(expert: u32, block: u32, row: u32) -> u32 {
  return expert * COLUMNS + min(block * 64u + row, COLUMNS - 1u);
}

fn store(pair: u32, block: u32, column: u32, sums: vec4<f32>) {
  for (var n = 0u; n < 4u; n++) {
    let i = block * 64u + column + 16u * n;
    if (i < COLUMNS) { output[pair * COLUMNS + i] = sums[n]; }
  }
}
