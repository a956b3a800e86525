// One token times up to three matrices: y = input(x) · Wᵀ (+ plus), the parts' rows one after the other. A workgroup works
// on one part. Fragments say what the input makes of x, how a part's rows are read, and which workgroup has which part.

@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [rows of all parts]
