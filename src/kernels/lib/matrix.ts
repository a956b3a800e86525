import { invariant } from "../../errors.ts";
import type { Fragment } from "../../gpu/shader.ts";

/**
 * Matrices of the device's one shape: a subgroup of LANES multiplies `Left` [M, K] and `Right` [K, N] into a `Result`
 * [M, N]. Only for profiles with `matrix`.
 */
export const matrixFragment: Fragment = {
  name: "matrix",
  source: ({ matrix, subgroupMinSize }) => {
    invariant(matrix, "the device multiplies no matrices");
    const { m, n, k } = matrix;
    return `
const LANES = ${subgroupMinSize}u;
const M = ${m}u;
const N = ${n}u;
const K = ${k}u;
alias Left = subgroup_matrix_left<f16, ${k}, ${m}>;
alias Right = subgroup_matrix_right<f16, ${n}, ${k}>;
alias Result = subgroup_matrix_result<f32, ${n}, ${m}>;
`;
  },
};
