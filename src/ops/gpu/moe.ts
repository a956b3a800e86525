import { invariant } from "../../errors.ts";
import type { DeviceProfile, MatrixShape } from "../../gpu/profile.ts";
import type { Stop } from "../../gpu/recorder.ts";
import type { GpuBuffer, GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { teamSum } from "../../kernels/dense/team-sum.ts";
import { weightFragments } from "../../kernels/lib/weights.ts";
import { halfFragments } from "../../kernels/matrix/halves.ts";
import { matrixExperts, tileOf } from "../../kernels/matrix/product.ts";
import { addSums } from "../../kernels/moe/add-sums.ts";
import { combineExperts } from "../../kernels/moe/combine-experts.ts";
import { expertDown } from "../../kernels/moe/expert-down.ts";
import { expertGateUp } from "../../kernels/moe/expert-gate-up.ts";
import { groupTokens } from "../../kernels/moe/group-tokens.ts";
import { groupedKernels } from "../../kernels/moe/grouped-matmul.ts";
import { locateExperts } from "../../kernels/moe/locate-experts.ts";
import { presence } from "../../kernels/moe/presence.ts";
import { routeKernel, routeShare } from "../../kernels/moe/route.ts";
import { splitExperts } from "../../kernels/moe/split-experts.ts";
import type { Batch } from "../batch.ts";
import type { ExpertWeights } from "../ops.ts";
import type { GpuContext, GpuRouting } from "./gpu-ops.ts";
import { linear } from "./linear.ts";
import { canUseMatrices, packHalves } from "./matrix.ts";

/** Experts of which the device holds some at a time: their weights are `slots` experts long. */
export interface GpuExperts extends ExpertWeights<GpuWeight> {
  readonly paging?: ExpertPaging;
}

export interface ExpertPaging {
  readonly slots: number;
  /** Which sparse layer, and how many there are. */
  readonly layer: number;
  readonly layers: number;
  /** [layers, experts]: where an expert lies, or MISSING. */
  readonly table: GpuBuffer;
  /** What the device found missing; src/paging/report.ts says how it is laid out. */
  readonly report: GpuBuffer;
  /** [rows, hidden]: what experts elsewhere make of the rows, where those that are not here are not brought here. */
  readonly sums?: GpuBuffer;
  /** The next layer's router. On this layer's input it foretells what that layer will choose. */
  readonly nextRouter?: GpuWeight;
}

/** Words of a report before the experts: the layer that stopped the plan + 1, mode, rows, sequences. */
export const REPORT_HEADER = 8;

/** Experts expected in the next layer, for each that a layer chooses. */
const EXPECTED_SHARE = 2;

/** Words that a step's experts take in a report: those chosen in a layer, and those expected in the next. */
export const reportWords = (rows: number, topK: number): number => rows * topK * (1 + EXPECTED_SHARE);

export function route(gpu: GpuContext, logits: GpuTensor, topK: number, _batch: Batch): GpuRouting {
  const ids = gpu.recorder.tensor("expert ids", logits.rows, topK);
  const weights = gpu.recorder.tensor("expert weights", logits.rows, topK);
  routeInto(gpu, { logits, topK, ids, weights, idsAt: 0 });
  return { ids, weights };
}

interface RouteParts {
  readonly logits: GpuTensor;
  readonly topK: number;
  readonly ids: GpuTensor | GpuBuffer;
  readonly weights: GpuTensor;
  /** Where in `ids` they begin. */
  readonly idsAt: number;
}

function routeInto({ recorder, batchBuffer }: GpuContext, { logits, topK, ids, weights, idsAt }: RouteParts): void {
  const { profile } = recorder;
  invariant(topK <= logits.columns, `the best ${topK} of ${logits.columns} experts`);
  // As many threads as the smallest subgroup are one subgroup everywhere, and need not wait for others.
  const threads = profile.subgroups ? profile.subgroupMinSize : 64;
  routeKernel(recorder, {
    uses: [routeShare(logits.columns, threads)],
    buffers: { logits, ids, weights, batch: batchBuffer },
    constants: { WORKGROUP: threads, EXPERTS: logits.columns, TOP_K: topK, IDS_AT: idsAt },
    grid: [logits.rows],
  });
}

type ExpertsOp = (gpu: GpuContext, x: GpuTensor, routing: GpuRouting, weights: GpuExperts) => GpuTensor;

export function experts(
  gpu: GpuContext,
  x: GpuTensor,
  routing: GpuRouting,
  weights: GpuExperts,
  batch: Batch,
): GpuTensor {
  const { gateUp, paging } = weights;
  invariant(x.columns === gateUp.columns, `${gateUp.label}: ${gateUp.columns} columns for an input of ${x.columns}`);
  const way = isGrouped(gpu.recorder.profile, x, weights) ? grouped : byIds;
  if (!paging) return way(gpu, x, routing, weights);
  if (paging.sums) return shared(gpu, x, routing, weights, paging.sums, way);
  const located = locate(gpu, x, routing, weights, batch, way === grouped ? "pairs" : "rows");
  return way(gpu, x, located, weights);
}

/** Experts that lie here, plus what others make of the rows. The host brings that after looking at the choice. */
function shared(
  gpu: GpuContext,
  x: GpuTensor,
  { ids, weights: routing }: GpuRouting,
  weights: GpuExperts,
  elsewhere: GpuBuffer,
  way: ExpertsOp,
): GpuTensor {
  const { recorder, batchBuffer: batch } = gpu;
  const { experts, topK, paging } = weights;
  const { layer, table, report } = paging!;
  const slots = recorder.tensor("expert slots", x.rows, topK);
  const shares = recorder.tensor("expert shares", x.rows, topK);
  const from = recorder.dispatches.length;
  const expectedAt = REPORT_HEADER + x.rows * topK;
  const stop = {
    layer,
    from,
    to: from,
    unit: "pairs",
    topK,
    chosenAt: REPORT_HEADER,
    expectedAt,
    expected: 0,
  } as const;
  recorder.stops.push({ ...stop, runsOn: false, input: x });
  splitExperts(recorder, {
    buffers: { ids, routing, table, slots, shares, report, batch },
    constants: {
      WORKGROUP: recorder.profile.serialWorkgroups ? 16 : 256,
      EXPERTS: experts,
      TOP_K: topK,
      LAYER: layer,
      CHOSEN_AT: REPORT_HEADER,
      WEIGHTS_AT: expectedAt,
    },
    grid: [1],
  });
  const here = way(gpu, x, { ids: slots, weights: shares }, weights);
  const y = recorder.tensor("experts here and elsewhere", x.rows, x.columns);
  addSums(recorder, {
    buffers: { here, elsewhere, y, batch },
    constants: { COLUMNS: x.columns },
    grid: [Math.ceil(x.columns / 64), x.rows],
  });
  return y;
}

/** The routing with slots in place of experts. Opens a stop, which `closeStop` ends. */
function locate(
  gpu: GpuContext,
  x: GpuTensor,
  { ids, weights }: GpuRouting,
  experts: GpuExperts,
  batch: Batch,
  unit: Stop["unit"],
): GpuRouting {
  const { recorder, batchBuffer } = gpu;
  const { topK, paging } = experts;
  const slots = recorder.tensor("expert slots", x.rows, topK);
  const stop = openStop(gpu, experts, batch, x.rows, unit, (router) => linear(gpu, x, router));
  locateExperts(recorder, {
    buffers: { ids, table: paging!.table, slots, report: paging!.report, batchState: batchBuffer },
    constants: {
      WORKGROUP: recorder.profile.serialWorkgroups ? 16 : 256,
      EXPERTS: experts.experts,
      TOP_K: topK,
      LAYER: stop.layer,
      CHOSEN_AT: stop.chosenAt,
    },
    grid: [1],
  });
  return { ids: slots, weights };
}

/**
 * Begins a stop at the next dispatch, which has to find out whether all experts are there. `look` gives what the next
 * layer's router makes of this layer's input.
 */
export function openStop(
  gpu: GpuContext,
  { experts, topK, paging }: GpuExperts,
  { kind }: Pick<Batch, "kind">,
  rows: number,
  unit: Stop["unit"],
  look: (router: GpuWeight) => GpuTensor | undefined,
): Stop {
  const { recorder } = gpu;
  const { layer, layers, report, nextRouter } = paging!;
  const words = reportWords(rows, topK);
  const runsOn = kind === "decode" && (REPORT_HEADER + layers * words) * 4 <= report.sizeBytes;
  const chosenAt = REPORT_HEADER + (runsOn ? layer * words : 0);
  const expectedAt = chosenAt + rows * topK;
  const count = Math.min(EXPECTED_SHARE * topK, experts);
  const logits = runsOn && nextRouter ? look(nextRouter) : undefined;
  if (logits) {
    const weights = recorder.tensor("expected weights", rows, count);
    routeInto(gpu, { logits, topK: count, ids: report, weights, idsAt: expectedAt });
  }
  const from = recorder.dispatches.length;
  const stop = { layer, from, to: from, unit, topK, chosenAt, expectedAt, expected: logits ? count : 0, runsOn };
  recorder.stops.push(stop);
  return stop;
}

/** Ends the stop under way: what has been recorded since runs again for the experts that were missing. */
export function closeStop({ recorder: { stops, dispatches } }: GpuContext, { paging }: GpuExperts): void {
  if (paging) stops.push({ ...stops.pop()!, to: dispatches.length });
}

/** With 8 lanes or less the "GPU" is a CPU. */
const isProcessor = (profile: DeviceProfile) => profile.subgroupMaxSize <= 8;

/** Whether experts have so many rows on average that reading their weights once for all is worth grouping the rows. */
function isGrouped(profile: DeviceProfile, x: GpuTensor, { experts, topK, down }: ExpertWeights<GpuWeight>): boolean {
  const rowsPerExpert = (x.rows * topK) / experts;
  const partBytes = x.rows * topK * x.columns * 4;
  const isWhole = x.columns % 32 === 0 && down.columns % 32 === 0;
  return isWhole && rowsPerExpert >= (isProcessor(profile) ? 2 : 8) && partBytes <= profile.maxBindingBytes;
}

/** Token by token: for a few tokens, which seldom share an expert. Two dispatches, each expert's rows read as chosen. */
export const byIds: ExpertsOp = (gpu, x, routing, weights) => {
  const { recorder, batchBuffer: batch } = gpu;
  const { topK, gateUp, down, paging } = weights;
  const { profile } = recorder;
  const present = paging ? presence.some : presence.all;
  const inner = down.columns;
  const constants = { COLUMNS: x.columns, INNER: inner, TOP_K: topK };
  // Lanes that run in step read neighbouring columns; a CPU would rather split a row less.
  const lanes = Math.min(32, Math.max(4, profile.subgroupMaxSize));
  const hidden = recorder.tensor("expert hidden", x.rows * topK, inner);
  expertGateUp(recorder, {
    uses: [teamSum(profile, lanes), present, weightFragments[gateUp.format]],
    buffers: { x, ids: routing.ids, weight: gateUp, y: hidden, batch },
    constants: { ...constants, WORKGROUP: 64, LANES: lanes },
    grid: [Math.ceil((inner / 2) * (lanes / 64)), topK, x.rows],
  });
  // There are fewer rows than in the first half, each topK times as long.
  const downLanes = isProcessor(profile) ? lanes : 128;
  const y = recorder.tensor("experts", x.rows, x.columns);
  expertDown(recorder, {
    uses: [teamSum(profile, downLanes), present, weightFragments[down.format]],
    buffers: { hidden, ids: routing.ids, routing: routing.weights, weight: down, y, batch },
    constants: { ...constants, WORKGROUP: 128, LANES: downLanes },
    grid: [Math.ceil((x.columns / 4) * (downLanes / 128)), x.rows],
  });
  closeStop(gpu, weights);
  return y;
};

/** Expert by expert: products of an expert's weights with all the rows that chose it. */
export const grouped: ExpertsOp = (gpu, x, routing, weights) => {
  const { recorder, batchBuffer: batch } = gpu;
  const { experts, topK, gateUp, down, paging } = weights;
  const bins = paging?.slots ?? experts;
  const inner = down.columns;
  const pairCount = x.rows * topK;
  const halves = halfKernels(gpu, x, weights);
  const tileCount = Math.floor(pairCount / halves.rows) + Math.min(bins, pairCount);
  const pairs = recorder.tensor("expert pairs", 1, pairCount);
  const tiles = recorder.tensor("expert tiles", tileCount, 4);
  groupTokens(recorder, {
    buffers: { ids: routing.ids, pairs, tiles, batch },
    constants: {
      WORKGROUP: recorder.profile.serialWorkgroups ? 16 : 256,
      EXPERTS: bins,
      TOP_K: topK,
      ROWS: halves.rows,
      TILES: tileCount,
    },
    grid: [bins],
  });
  const hidden = recorder.tensor("expert hidden", pairCount, inner);
  halves.gateUp({ x, pairs, tiles, weight: gateUp, y: hidden });
  const parts = recorder.tensor("expert parts", pairCount, x.columns);
  halves.down({ x: hidden, pairs, tiles, weight: down, y: parts });
  closeStop(gpu, weights);
  const y = recorder.tensor("experts", x.rows, x.columns);
  combineExperts(recorder, {
    buffers: { parts, routing: routing.weights, y, batch },
    constants: { COLUMNS: x.columns, TOP_K: topK },
    grid: [Math.ceil(x.columns / 256), x.rows],
  });
  return y;
};

type Half = (buffers: Readonly<Record<"x" | "pairs" | "tiles" | "y", GpuTensor>> & { weight: GpuWeight }) => void;

/** How a device multiplies tiles of `rows` pairs with an expert's weights. */
function halfKernels(gpu: GpuContext, x: GpuTensor, weights: GpuExperts): { rows: number; gateUp: Half; down: Half } {
  const { recorder } = gpu;
  const { topK, gateUp, down, experts } = weights;
  const inner = down.columns;
  const rowsPerExpert = (x.rows * topK) / experts;
  const sizes = { INNER: inner, TOP_K: topK };
  const { matrix } = recorder.profile;
  if (matrix && canUseMatrices(recorder.profile, x, x.columns) && canUseMatrices(recorder.profile, x, inner)) {
    const kernels = chooseMatrixExperts(rowsPerExpert, matrix);
    const tile = tileOf(kernels.tiling, matrix);
    return {
      rows: tile.rows,
      gateUp: ({ x, ...buffers }) =>
        kernels.gateUp(recorder, {
          uses: [halfFragments[gateUp.format]],
          buffers: { ...buffers, ...packHalves(gpu, x) },
          constants: { ...sizes, COLUMNS: x.columns },
          grid: [buffers.tiles.rows, Math.ceil((2 * inner) / tile.columns)],
        }),
      down: ({ x, y, ...buffers }) =>
        kernels.down(recorder, {
          uses: [halfFragments[down.format]],
          buffers: { ...buffers, ...packHalves(gpu, x, topK), y },
          constants: { ...sizes, COLUMNS: inner, OUTPUTS: y.columns },
          grid: [buffers.tiles.rows, Math.ceil(y.columns / tile.columns)],
        }),
    };
  }
  const kernels = chooseGrouped(recorder.profile, rowsPerExpert);
  const constants = { ...sizes, COLUMNS: x.columns };
  return {
    rows: kernels.rows,
    gateUp: (buffers) =>
      kernels.gateUp(recorder, {
        uses: [weightFragments[gateUp.format]],
        buffers,
        constants,
        grid: [buffers.tiles.rows, Math.ceil(inner / 2 / kernels.places)],
      }),
    down: (buffers) =>
      kernels.down(recorder, {
        uses: [weightFragments[down.format]],
        buffers,
        constants,
        grid: [buffers.tiles.rows, Math.ceil(x.columns / 4 / kernels.places)],
      }),
  };
}

/** The least tile that holds the rows of most experts, which are not equally popular, or else the largest. */
function chooseMatrixExperts(rowsPerExpert: number, matrix: MatrixShape) {
  const most = rowsPerExpert + 1.5 * Math.sqrt(rowsPerExpert);
  return matrixExperts.find(({ tiling }) => tileOf(tiling, matrix).rows >= most) ?? matrixExperts.at(-1)!;
}

/** Up to so many rows of each expert on average, tiles of eight pairs waste less than what larger ones save. */
const SMALL_TILE_ROWS = 6;

/** A CPU shares inputs by broadcasts, a GPU through workgroup memory; tiles are no larger than experts can fill. */
function chooseGrouped(profile: DeviceProfile, rowsPerExpert: number) {
  if (profile.subgroups && isProcessor(profile)) {
    const isSmall = profile.subgroupMinSize < 8 || rowsPerExpert <= SMALL_TILE_ROWS;
    return isSmall ? groupedKernels.subgroups4 : groupedKernels.subgroups8;
  }
  return rowsPerExpert > 16 ? groupedKernels.tiles32 : groupedKernels.tiles16;
}
