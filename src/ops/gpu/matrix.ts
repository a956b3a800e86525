import type { DeviceProfile } from "../../gpu/profile.ts";
import type { GpuTensor, Scratch } from "../../gpu/resources.ts";
import { reduceThreads } from "../../kernels/lib/reduce.ts";
import { packHalvesKernel } from "../../kernels/matrix/halves.ts";
import type { GpuContext } from "./gpu-ops.ts";

/** Rows below which tiles of matrices are mostly empty. */
const MIN_ROWS = 16;

/** Columns that all kernels of matrix products can take come in multiples of so many matrices. */
const COLUMN_STEP = 8;

/** Whether products of x's rows with weights of `columns` go through the device's matrices. */
export const canUseMatrices = ({ matrix, serialWorkgroups }: DeviceProfile, x: GpuTensor, columns: number): boolean =>
  matrix !== undefined && !serialWorkgroups && x.rows >= MIN_ROWS && columns % (COLUMN_STEP * matrix.k) === 0;

/** Rows in f16, and what each was divided by. */
interface Halves {
  readonly halves: GpuTensor;
  readonly scales: GpuTensor;
}

/** What has been packed: several weights are multiplied with the same rows. */
const packed = new WeakMap<Scratch, Map<string, Halves>>();

/** x as f16. It has `rowsPerToken` rows for each token of the batch. */
export function packHalves({ recorder, batchBuffer }: GpuContext, x: GpuTensor, rowsPerToken = 1): Halves {
  const views = packed.get(x.scratch) ?? new Map<string, Halves>();
  packed.set(x.scratch, views);
  const view = `${x.offset} ${x.columns}`;
  let halves = views.get(view);
  if (!halves) {
    halves = {
      halves: recorder.tensor("halves", x.rows, x.columns / 2),
      scales: recorder.tensor("scales of halves", x.rows, 1),
    };
    views.set(view, halves);
    const gridX = Math.min(x.rows, recorder.profile.maxGrid);
    packHalvesKernel(recorder, {
      buffers: { x, ...halves, batch: batchBuffer },
      constants: {
        WORKGROUP: reduceThreads(recorder.profile),
        COLUMNS: x.columns,
        GRID_X: gridX,
        ROWS_PER_TOKEN: rowsPerToken,
      },
      grid: [gridX, Math.ceil(x.rows / gridX)],
    });
  }
  return halves;
}
