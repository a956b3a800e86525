// The gates of the delta rule.

override VALUE_HEADS: u32;
override GATES_OFFSET: u32;
override GATES_STRIDE: u32;

@group(0) @binding(1) var<storage, read> gates: array<f32>;   // [T, b | a], a view
@group(0) @binding(2) var<storage, read> negA: array<f32>;    // [VALUE_HEADS]
@group(0) @binding(3) var<storage, read> dtBias: array<f32>;  // [VALUE_HEADS]

// β = σ(b): how much of a correction is written.
fn writeStrength(row: u32, head: u32) -> f32 {
  return 1.0 / (1.0 + exp(clamp(-gates[GATES_OFFSET + row * GATES_STRIDE + head], -80.0, 80.0)));
}

// g = negA · softplus(a + dtBias) ≤ 0: the logarithm of the decay.
fn logDecay(row: u32, head: u32) -> f32 {
  return negA[head] * softplus(gates[GATES_OFFSET + row * GATES_STRIDE + VALUE_HEADS + head] + dtBias[head]);
}

// ln(1 + eˣ). Below e = 0.01 by its series: 1 + e would round away what slow decays are made of.
fn softplus(x: f32) -> f32 {
  if (x > 20.0) { return x; }
  let e = exp(max(x, -80.0));
  return select(log(1.0 + e), e * (1.0 - e * (0.5 - e / 3.0)), e < 0.01);
}
