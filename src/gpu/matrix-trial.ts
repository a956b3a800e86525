import type { MatrixShape } from "./profile.ts";

/**
 * Whether the device compiles products of matrices as our shaders write them. Having the feature does not say so: it is
 * an experiment whose functions have changed under one name. Those of Chromium 147 take the layout as an argument and
 * know no arrays of vectors.
 */
export async function compilesMatrices(device: GPUDevice, shape: MatrixShape): Promise<boolean> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: "matrix-trial", code: trial(shape) });
  const pipeline = device.createComputePipelineAsync({ label: "matrix-trial", layout: "auto", compute: { module } });
  const failures = [device.popErrorScope(), pipeline.then(() => null)];
  return (await Promise.allSettled(failures)).every((f) => f.status === "fulfilled" && f.value === null);
}

/**
 * Every call that our shaders make: either layout, workgroup and storage memory, in vectors of 16 bytes. It is never run;
 * 128 threads are whole subgroups of any size.
 */
const trial = ({ m, n, k }: MatrixShape): string => /* wgsl */ `
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, subgroup_uniformity);
diagnostic(off, chromium.subgroup_matrix_uniformity);
alias Left = subgroup_matrix_left<f16, ${k}, ${m}>;
alias Right = subgroup_matrix_right<f16, ${n}, ${k}>;
alias Result = subgroup_matrix_result<f32, ${n}, ${m}>;
@group(0) @binding(0) var<storage, read_write> sums: array<vec4<f32>>;
var<workgroup> halves: array<vec4<u32>, ${(Math.max(m, n) * k) / 8}>;
@compute @workgroup_size(128)
fn main() {
  let a = subgroupMatrixLoad<Left, row_major>(&halves, 0u, ${k / 8}u);
  let b = subgroupMatrixLoad<Right, col_major>(&halves, 0u, ${k / 8}u);
  var sum = subgroupMatrixLoad<Result, row_major>(&sums, 0u, ${n / 4}u);
  sum = subgroupMatrixMultiplyAccumulate(a, b, subgroupMatrixScalarMultiply(sum, 2.0));
  subgroupMatrixStore<row_major>(&sums, 0u, sum, ${n / 4}u);
}
`;
