// Weights in f32, as f16; what is too large becomes the largest f16.
@group(0) @binding(6) var<storage, read> weight: array<vec4<f32>>;

alias Packed = array<vec4<u32>, 4>;

fn fetch32(group: u32) -> Packed {
  return Packed(fetch8(4u * group), fetch8(4u * group + 1u), fetch8(4u * group + 2u), fetch8(4u * group + 3u));
}

fn fetch8(index: u32) -> vec4<u32> {
  let low = clamp(weight[2u * index], vec4<f32>(-65504.0), vec4<f32>(65504.0));
  let high = clamp(weight[2u * index + 1u], vec4<f32>(-65504.0), vec4<f32>(65504.0));
  return vec4<u32>(
    pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
}

// Elements 8 · quarter … 8 · quarter + 7 of a group.
fn halves8(p: Packed, quarter: u32) -> vec4<u32> { return p[quarter]; }
