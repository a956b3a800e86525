// Fills a weight's plane with seeded random numbers that average 0. KIND says what a word holds:
// 0 quantised elements, any bits; 1 one f32; 2 two bf16; 3 two f16, all uniform in ±AMPLITUDE;
// 4 two f16 scales, AMPLITUDE · (0.75 … 1.25) with a random sign, since one-signed scales would make all outputs alike;
// 5 an f16 scale of that kind, and the min that puts the middle of 16 levels at 0.

override KIND: u32;
override SEED: u32;
override AMPLITUDE: f32;

@group(0) @binding(0) var<storage, read_write> words: array<u32>;

fn value(index: u32) -> f32 {
  let u = randomAt(SEED, index);
  if (KIND >= 4u) {
    let size = AMPLITUDE * (0.75 + 0.5 * u);
    return select(size, -size, (mixBits(index ^ SEED) & 1u) == 0u);
  }
  return AMPLITUDE * (2.0 * u - 1.0);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  for (var i = id.x; i < arrayLength(&words); i += groups.x * 256u) {
    switch KIND {
      case 0u: { words[i] = mixBits(mixBits(i) + SEED); }
      case 1u: { words[i] = bitcast<u32>(value(i)); }
      case 2u: { words[i] = (bitcast<u32>(value(2u * i)) >> 16u) | (bitcast<u32>(value(2u * i + 1u)) & 0xffff0000u); }
      case 5u: { words[i] = pack2x16float(value(i) * vec2<f32>(1.0, -7.5)); }
      default: { words[i] = pack2x16float(vec2<f32>(value(2u * i), value(2u * i + 1u))); }
    }
  }
}
