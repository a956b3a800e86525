import { invariant } from "../../errors.ts";
import type { DeviceProfile, MatrixShape } from "../../gpu/profile.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { linearParts, outputParts } from "../../kernels/dense/linear-parts.ts";
import {
  matmulKernel,
  matmulSubgroups4Kernel,
  matmulSubgroups8Kernel,
  matmulTiles,
} from "../../kernels/dense/matmul.ts";
import { matvecKernels } from "../../kernels/dense/matvec.ts";
import { teamSum } from "../../kernels/dense/team-sum.ts";
import { halfFragments } from "../../kernels/matrix/halves.ts";
import { matrixLinear, tileOf } from "../../kernels/matrix/product.ts";
import type { GpuContext } from "./gpu-ops.ts";
import { canUseMatrices, packHalves } from "./matrix.ts";

export function linear(gpu: GpuContext, x: GpuTensor, weight: GpuWeight, plus?: GpuTensor): GpuTensor {
  invariant(x.columns === weight.columns, `${weight.label}: ${weight.columns} columns for an input of ${x.columns}`);
  const y = gpu.recorder.tensor(weight.label, x.rows, weight.rows);
  const { profile } = gpu.recorder;
  const way = x.rows <= matvecRows(profile) ? matvec : canUseMatrices(profile, x, weight.columns) ? matrices : matmul;
  way(gpu, { x, weight, plus, y });
  return y;
}

interface Product {
  readonly x: GpuTensor;
  readonly weight: GpuWeight;
  readonly plus?: GpuTensor;
  readonly y: GpuTensor;
}

/**
 * Up to so many rows, loading weights takes longer than multiplying them, and a GPU wants K split over many threads. With
 * 8 lanes or less the "GPU" is a CPU, whose loads cost as much as a dozen multiplications.
 */
const matvecRows = (profile: DeviceProfile) => (profile.subgroupMaxSize <= 8 ? 2 : matvecKernels.length);

function matvec({ recorder }: GpuContext, { x, weight, plus, y }: Product): void {
  const { profile } = recorder;
  const workgroup = 64;
  // Lanes that run in step read neighbouring columns; a CPU would rather split a row less.
  const lanes = Math.min(32, Math.max(4, profile.subgroupMaxSize));
  const groups = Math.ceil(weight.rows / ((4 * workgroup) / lanes));
  const gridX = Math.min(groups, profile.maxGrid);
  matvecKernels[x.rows - 1](recorder, {
    uses: [teamSum(profile, lanes), ...linearParts(x, weight, plus)],
    buffers: { x, weight, y, ...(plus && { plus }) },
    constants: {
      WORKGROUP: workgroup,
      LANES: lanes,
      COLUMNS: x.columns,
      ROWS: weight.rows,
      INPUT_ROWS: x.rows,
      GRID_X: gridX,
    },
    grid: [gridX, Math.ceil(groups / gridX)],
  });
}

function matmul({ recorder, batchBuffer }: GpuContext, { x, weight, plus, y }: Product): void {
  const { kernel, rows, outputs } = chooseMatmul(recorder.profile, x.rows, weight.rows);
  kernel(recorder, {
    uses: linearParts(x, weight, plus),
    buffers: { x, weight, batch: batchBuffer, y, ...(plus && { plus }) },
    constants: { COLUMNS: x.columns, ROWS: weight.rows, INPUT_ROWS: x.rows },
    grid: [Math.ceil(x.rows / rows), Math.ceil(weight.rows / outputs)],
  });
}

function matrices(gpu: GpuContext, { x, weight, plus, y }: Product): void {
  const { recorder, batchBuffer } = gpu;
  const { tiling, kernel } = chooseTiling(x.rows, weight.rows, recorder.profile.matrix!);
  const tile = tileOf(tiling, recorder.profile.matrix!);
  kernel(recorder, {
    uses: [...outputParts(weight, plus), halfFragments[weight.format]],
    buffers: { ...packHalves(gpu, x), weight, batch: batchBuffer, y, ...(plus && { plus }) },
    constants: { COLUMNS: x.columns, ROWS: weight.rows, INPUT_ROWS: x.rows },
    grid: [Math.ceil(x.rows / tile.rows), Math.ceil(weight.rows / tile.columns)],
  });
}

/** Large tiles load least; a large GPU wants more workgroups than it has processors. */
const ENOUGH_TILES = 200;

/** So few leave a large GPU's processors idle, unless each is shared out. */
const FEW_TILES = 264;

function chooseTiling(rows: number, outputs: number, matrix: MatrixShape) {
  const tile = tileOf(matrixLinear.large.tiling, matrix);
  const isEnough = Math.ceil(rows / tile.rows) * Math.ceil(outputs / tile.columns) >= ENOUGH_TILES;
  return isEnough ? matrixLinear.large : matrixLinear.small;
}

/** The kernel for a device, and the rows of x and of W that one of its workgroups takes. */
function chooseMatmul(profile: DeviceProfile, rows: number, outputs: number) {
  const { serialWorkgroups, subgroups, subgroupMinSize, maxWorkgroupBytes } = profile;
  if (!serialWorkgroups) {
    const { small, sliced, large } = matmulTiles;
    const tiles = (side: number) => Math.ceil(rows / side) * Math.ceil(outputs / side);
    const isFew = tiles(sliced.side) < FEW_TILES && maxWorkgroupBytes >= 32 * 1024;
    const { kernel, side } = tiles(large.side) >= ENOUGH_TILES ? large : isFew ? sliced : small;
    return { kernel, rows: side, outputs: side };
  }
  if (subgroups && subgroupMinSize >= 8) return { kernel: matmulSubgroups8Kernel, rows: 16, outputs: 256 };
  if (subgroups && subgroupMinSize >= 4) return { kernel: matmulSubgroups4Kernel, rows: 8, outputs: 256 };
  return { kernel: matmulKernel, rows: 4, outputs: 256 };
}
