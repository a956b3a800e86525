// The second half of an expert: [pairs, COLUMNS] = down hidden. At place p are four rows from 4 · p on.

fn inputColumns() -> u32 { return INNER; }

fn inputRow(pair: u32) -> u32 { return pair; }

fn weightRows(expert: u32, place: u32) -> vec4<u32> {
  return min(4u * place + vec4(0u, 1u, 2u, 3u), vec4(COLUMNS - 1u)) + expert * COLUMNS;
}

fn store(pair: u32, place: u32, sums: vec4<f32>) {
  for (var o = 0u; o < min(4u, COLUMNS - min(4u * place, COLUMNS)); o++) {
    y[pair * COLUMNS + 4u * place + o] = sums[o];
  }
}
