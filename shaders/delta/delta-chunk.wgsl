// What the kernels of the chunked delta rule agree on.

const CHUNK = 32u;
// Vectors of a row of `mixing`: CHUNK entries of P, then the row's scales
//   (query's norm · e^γ, key's norm · e^(γ_end − γ), e^γ_end): what S, K and the old state are multiplied by.
const MIXING = CHUNK / 4u + 1u;
