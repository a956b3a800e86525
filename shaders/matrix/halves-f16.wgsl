// Weights in f16.
@group(0) @binding(6) var<storage, read> weight: array<vec4<u32>>;

alias Packed = array<vec4<u32>, 4>;

fn fetch32(group: u32) -> Packed {
  let at = 4u * group;
  return Packed(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]);
}

// Elements 8 · quarter … 8 · quarter + 7 of a group.
fn halves8(p: Packed, quarter: u32) -> vec4<u32> { return p[quarter]; }
