import { invariant } from "../../errors.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { linearParts } from "../../kernels/dense/linear-parts.ts";
import { matmulKernel, matmulSubgroupsKernel } from "../../kernels/dense/matmul.ts";
import { matvecKernel, matvecTile } from "../../kernels/dense/matvec.ts";
import type { GpuContext } from "./gpu-ops.ts";

/** Up to so many rows, loading the weights takes longer than multiplying them. */
const MATVEC_ROWS = 8;

export function linear(gpu: GpuContext, x: GpuTensor, weight: GpuWeight, plus?: GpuTensor): GpuTensor {
  invariant(x.columns === weight.columns, `${weight.label}: ${weight.columns} columns for an input of ${x.columns}`);
  const y = gpu.recorder.tensor(weight.label, x.rows, weight.rows);
  (x.rows <= MATVEC_ROWS ? matvec : matmul)(gpu, { x, weight, plus, y });
  return y;
}

interface Product {
  readonly x: GpuTensor;
  readonly weight: GpuWeight;
  readonly plus?: GpuTensor;
  readonly y: GpuTensor;
}

function matvec({ recorder }: GpuContext, { x, weight, plus, y }: Product): void {
  const tile = { tokens: x.rows, outputs: 4 };
  const [workgroup, lanes] = [64, 16];
  const groups = Math.ceil(weight.rows / ((workgroup / lanes) * tile.outputs));
  const gridX = Math.min(groups, recorder.profile.maxGrid);
  matvecKernel(recorder, {
    uses: [matvecTile(tile), ...linearParts(x, weight, plus)],
    buffers: { x, weight, y, ...(plus && { plus }) },
    constants: { WORKGROUP: workgroup, LANES: lanes, COLUMNS: x.columns, ROWS: weight.rows, GRID_X: gridX },
    grid: [gridX, Math.ceil(groups / gridX)],
  });
}

function matmul({ recorder, batchBuffer }: GpuContext, { x, weight, plus, y }: Product): void {
  const canBroadcast = recorder.profile.subgroups && recorder.profile.subgroupMinSize >= 8;
  const kernel = canBroadcast ? matmulSubgroupsKernel : matmulKernel;
  kernel(recorder, {
    uses: linearParts(x, weight, plus),
    buffers: { x, weight, batch: batchBuffer, y, ...(plus && { plus }) },
    constants: { COLUMNS: x.columns, ROWS: weight.rows, INPUT_ROWS: x.rows },
    grid: [Math.ceil(x.rows / (canBroadcast ? 8 : 4)), Math.ceil(weight.rows / 256)],
  });
}
