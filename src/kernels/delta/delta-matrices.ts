import source from "../../../shaders/delta/delta-matrices.wgsl?raw";
import type { DeviceProfile, MatrixShape } from "../../gpu/profile.ts";
import type { Fragment } from "../../gpu/shader.ts";
import type { DeltaShape } from "../../ops/ops.ts";

/** How the delta rule is done by products of matrices, on a device and for a model. */
export interface DeltaSizes {
  readonly matrix: MatrixShape;
  /** Of a workgroup, and threads of each. */
  readonly subgroups: number;
  readonly lanes: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Tokens of a chunk. */
  readonly chunk: number;
  /** Columns of S in a workgroup of the scan. */
  readonly slice: number;
  /** Values of 4 bytes that a chunk of one value head takes in `operands` and `corrections`. */
  readonly operands: number;
  readonly corrections: number;
}

/** What both kernels agree on. */
export const deltaMatrices = (sizes: DeltaSizes): Fragment => ({
  name: "delta-matrices",
  source: `
const SUBGROUPS = ${sizes.subgroups}u;
const KEY_DIM = ${sizes.keyDim}u;
const VALUE_DIM = ${sizes.valueDim}u;
const CHUNK = ${sizes.chunk}u;
const SLICE = ${sizes.slice}u;
${source}`,
});

/** Undefined where a device or shape is not for them. */
export function deltaSizes(profile: DeviceProfile, { keyDim, valueDim }: DeltaShape): DeltaSizes | undefined {
  const { matrix, serialWorkgroups, subgroupMinSize: lanes, maxInvocations, maxWorkgroupBytes } = profile;
  if (!matrix || serialWorkgroups) return undefined;
  const { m, n, k } = matrix;
  // Each subgroup has one matrix of rows of −W and Q.
  const subgroups = 8;
  const chunk = (subgroups / 2) * m;
  const slice = 2 * n;
  const isWhole = [m, n, k, 8].every((size) => keyDim % size === 0 && chunk % size === 0) && valueDim % slice === 0;
  const threads = subgroups * lanes;
  const isSmall =
    threads <= maxInvocations &&
    // The last step of inverting a chunk's matrix has four entries a thread.
    threads >= (chunk / 4) ** 2 &&
    keyDim <= MAX_KEY_DIM &&
    workgroupBytes(chunk, slice, keyDim, valueDim) <= maxWorkgroupBytes;
  if (!isWhole || !isSmall) return undefined;
  const operands = (chunk * (3 * keyDim + chunk)) / 2;
  return { matrix, subgroups, lanes, keyDim, valueDim, chunk, slice, operands, corrections: chunk * valueDim };
}

/** All operands of a chunk are in registers. */
const MAX_KEY_DIM = 128;

/** The larger of what the two kernels keep: rows in f16 with a vector between them, and less than a KiB of small arrays. */
function workgroupBytes(chunk: number, slice: number, keyDim: number, valueDim: number): number {
  const row = (columns: number) => columns * 2 + 16;
  const second = Math.max(row(keyDim), row(valueDim), row(2 * chunk));
  const prepare = chunk * (row(keyDim) + second + row(chunk));
  const scan = slice * (row(keyDim) + row(chunk) + row(2 * Math.max(keyDim, chunk)));
  return Math.max(prepare, scan) + 1024;
}
