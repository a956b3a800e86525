// Rows of digits, as quantize.wgsl leaves them.

@group(0) @binding(0) var<storage, read> digits: array<vec4<u32>>;       // [row][eight of a block][block]
@group(0) @binding(4) var<storage, read> digitScales: array<vec2<f32>>;  // [row][block], scale and sum

// Beyond the last block its scale is 0.
fn inputBlock(row: u32, block: u32) -> Block {
  let at = row * BLOCKS + min(block, BLOCKS - 1u);
  let i = at + 3u * row * BLOCKS;
  let scale = select(vec2<f32>(), digitScales[at], block < BLOCKS);
  let eights = array<vec4<u32>, 4>(digits[i], digits[i + BLOCKS], digits[i + 2u * BLOCKS], digits[i + 3u * BLOCKS]);
  return Block(eights, scale.x, scale.y);
}
