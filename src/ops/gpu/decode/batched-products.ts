import type { DeviceProfile } from "../../../gpu/profile.ts";
import type { GpuTensor, GpuWeight } from "../../../gpu/resources.ts";
import { batchedParts, batchedProduct } from "../../../kernels/batched/product.ts";
import { sliceParts, sliceProduct, sliceThreads, sliceTile } from "../../../kernels/batched/slices.ts";
import { laneSum } from "../../../kernels/batched/team-sum.ts";
import { isPacked } from "../../../kernels/decode/digits.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import type { GpuContext } from "../gpu-ops.ts";
import type { Staged } from "./batched-input.ts";

/** input · Wᵀ (+ plus) of some rows for each weight, in one dispatch. */
export function product(
  { recorder, batchBuffer }: GpuContext,
  { rows, columns, digits: values, digitScales, floats }: Staged,
  weights: readonly GpuWeight[],
  plus?: GpuTensor,
): GpuTensor[] {
  const { profile } = recorder;
  const subgroup = profile.subgroupMaxSize;
  const blockWords = weights.some((w) => w.format === "q8") ? 2 : 1;
  const { lanes, teams, workgroup, tile } = fitted(PRODUCT, columns, blockWords, profile);
  const total = weights.reduce((sum, w) => sum + w.rows, 0);
  const y = recorder.tensor(weights[0].label, rows, total);
  const { constants, groups, views } = layOut(y, weights, (w) =>
    isPacked(w.format) ? teams * tile.rows : workgroup / subgroup,
  );
  // Few rows of W leave much of a GPU idle, unless they are read for several parts of the input.
  const shares = Math.ceil(MIN_SUBGROUPS / ((groups * workgroup) / subgroup));
  const chunk = Math.min(rows, Math.max(4, Math.ceil(rows / shares)));
  batchedProduct(recorder, {
    uses: [
      sizes({
        lanes,
        teams,
        workgroup,
        subgroup,
        blocks: columns / 32,
        rowsPerTeam: tile.rows,
        plainSteps: Math.ceil(columns / 8 / subgroup),
        chunk,
      }),
      laneSum(lanes, subgroup),
      ...batchedParts(
        weights.map((w) => w.format),
        tile,
        plus !== undefined,
      ),
    ],
    buffers: {
      y,
      batch: batchBuffer,
      digits: values,
      digitScales,
      ...(floats && { floats }),
      ...(plus && { plus }),
      ...Object.fromEntries(weights.map((w, p) => [`weight${p}`, w])),
    } as { y: GpuTensor; batch: typeof batchBuffer },
    constants: { ...constants, ...(weights.some((w) => !isPacked(w.format)) && { COLUMNS: columns }) } as object,
    grid: [groups, Math.ceil(rows / chunk)],
  });
  return views;
}

/** The same by products of matrices. */
export function sliced(
  { recorder, batchBuffer }: GpuContext,
  { rows, columns, halves }: Staged,
  weights: readonly GpuWeight[],
  plus?: GpuTensor,
): GpuTensor[] {
  const matrix = recorder.profile.matrix!;
  const tile = sliceTile(matrix);
  const total = weights.reduce((sum, w) => sum + w.rows, 0);
  const y = recorder.tensor(weights[0].label, rows, total);
  const { constants, groups, views } = layOut(y, weights, () => tile.columns);
  sliceProduct(recorder, {
    uses: sliceParts(
      weights.map((w) => w.format),
      Math.min(Math.ceil(rows / matrix.m), tile.rows / matrix.m),
      plus !== undefined,
    ),
    buffers: {
      ...halves!,
      y,
      batch: batchBuffer,
      ...(plus && { plus }),
      ...Object.fromEntries(weights.map((w, p) => [`weight${p}`, w])),
    },
    constants: { ...constants, COLUMNS: columns },
    grid: [groups, Math.ceil(rows / tile.rows)],
  });
  return views;
}

/** Where the parts of a product lie in its output, and which workgroups have which. */
function layOut(y: GpuTensor, weights: readonly GpuWeight[], rowsOf: (w: GpuWeight) => number) {
  const constants: Record<string, number> = {};
  let groups = 0;
  let start = 0;
  const views = weights.map((w, p) => {
    constants[`ROWS${p}`] = w.rows;
    constants[`START${p}`] = start;
    constants[`GROUPS${p}`] = Math.ceil(w.rows / rowsOf(w));
    groups += constants[`GROUPS${p}`];
    const view = { ...y, columns: w.rows, offset: start };
    start += w.rows;
    return view;
  });
  return { constants, groups, views };
}

/** Rows from which products of matrices take less time than those of digits: a tile of 16 costs the same with fewer in it. */
const MIN_SLICED_ROWS = 8;

/** Whether `sliced` takes an input. */
export function canSlice(
  { matrix, serialWorkgroups, maxInvocations, subgroupMaxSize }: DeviceProfile,
  x: GpuTensor,
): boolean {
  return (
    matrix !== undefined &&
    !serialWorkgroups &&
    x.rows >= MIN_SLICED_ROWS &&
    x.columns % sliceTile(matrix).step === 0 &&
    sliceThreads(subgroupMaxSize) <= maxInvocations
  );
}

/** Enough to keep a large GPU busy. */
const MIN_SUBGROUPS = 1500;

/** Threads of a workgroup that share a row of W, rows of W that each takes part in, and rows of the input at a time. */
interface Shape {
  readonly workgroup: number;
  readonly lanes: number;
  readonly rows: number;
  readonly tokens: number;
}

const PRODUCT: Shape = { workgroup: 128, lanes: 16, rows: 4, tokens: 2 };

/** A shape as far as a device and a matrix allow. Software adapters take long to compile what is written out. */
function fitted(
  { workgroup, lanes, rows, tokens }: Shape,
  columns: number,
  blockWords: number,
  profile: DeviceProfile,
) {
  const { subgroupMaxSize, maxInvocations, specialize } = profile;
  const blocks = columns / 32;
  const wanted = Math.max(lanes, 2 ** Math.ceil(Math.log2((blocks * blockWords) / 4)));
  const fitLanes = Math.min(subgroupMaxSize, wanted);
  const steps = Math.ceil(blocks / fitLanes);
  const held = 2 ** Math.floor(Math.log2((specialize ? 16 : 4) / (steps * blockWords)));
  const threads = Math.min(workgroup, Math.floor(maxInvocations / subgroupMaxSize) * subgroupMaxSize);
  const tile = { rows: Math.min(rows, Math.max(1, held)), steps, tokens };
  return { lanes: fitLanes, teams: threads / fitLanes, workgroup: threads, tile };
}
