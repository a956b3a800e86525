import { invariant } from "../../errors.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { weightFragments } from "../../kernels/lib/weights.ts";
import { combineExperts } from "../../kernels/moe/combine-experts.ts";
import { expertDown } from "../../kernels/moe/expert-down.ts";
import { expertGateUp } from "../../kernels/moe/expert-gate-up.ts";
import { groupTokens } from "../../kernels/moe/group-tokens.ts";
import { groupedDown, groupedGateUp, tileRows } from "../../kernels/moe/grouped-matmul.ts";
import { routeKernel, routeShare } from "../../kernels/moe/route.ts";
import type { Batch } from "../batch.ts";
import type { ExpertWeights } from "../ops.ts";
import type { GpuContext, GpuRouting } from "./gpu-ops.ts";

export function route(gpu: GpuContext, logits: GpuTensor, topK: number, _batch: Batch): GpuRouting {
  const { profile } = gpu.recorder;
  invariant(topK <= logits.columns, `the best ${topK} of ${logits.columns} experts`);
  const ids = gpu.recorder.tensor("expert ids", logits.rows, topK);
  const weights = gpu.recorder.tensor("expert weights", logits.rows, topK);
  // The smallest subgroup a device has is one subgroup wherever it runs, and waits for nobody.
  const threads = profile.subgroups ? profile.subgroupMinSize : 64;
  routeKernel(gpu.recorder, {
    uses: [routeShare(logits.columns, threads)],
    buffers: { logits, ids, weights, batch: gpu.batchBuffer },
    constants: { WORKGROUP: threads, EXPERTS: logits.columns, TOP_K: topK },
    grid: [logits.rows],
  });
  return { ids, weights };
}

/** From so many rows per expert on, reading an expert's weights once for all its rows is worth grouping them. */
const GROUPED_ROWS_PER_EXPERT = 2;

export function experts(
  gpu: GpuContext,
  x: GpuTensor,
  routing: GpuRouting,
  weights: ExpertWeights<GpuWeight>,
  _batch: Batch,
): GpuTensor {
  const { gateUp, down, topK } = weights;
  const { maxBindingBytes } = gpu.recorder.profile;
  invariant(x.columns === gateUp.columns, `${gateUp.label}: ${gateUp.columns} columns for an input of ${x.columns}`);
  const rowsPerExpert = (x.rows * topK) / weights.experts;
  const isGrouped =
    x.rows > 8 &&
    rowsPerExpert >= GROUPED_ROWS_PER_EXPERT &&
    (x.columns | down.columns) % 32 === 0 &&
    x.rows * topK * x.columns * 4 <= maxBindingBytes;
  return (isGrouped ? grouped : byIds)(gpu, x, routing, weights);
}

type ExpertsOp = (gpu: GpuContext, x: GpuTensor, routing: GpuRouting, weights: ExpertWeights<GpuWeight>) => GpuTensor;

/** Token by token: for a few tokens, which seldom share an expert. */
export const byIds: ExpertsOp = ({ recorder, batchBuffer: batch }, x, routing, { topK, gateUp, down }) => {
  const outputs = 16;
  const inner = down.columns;
  const constants = { WORKGROUP: 128, OUTPUTS: outputs, COLUMNS: x.columns, INNER: inner, TOP_K: topK };
  const hidden = recorder.tensor("expert hidden", x.rows * topK, inner);
  expertGateUp(recorder, {
    uses: [weightFragments[gateUp.format]],
    buffers: { x, ids: routing.ids, weight: gateUp, hidden, batch },
    constants,
    grid: [Math.ceil(inner / outputs), topK, x.rows],
  });
  const y = recorder.tensor("experts", x.rows, x.columns);
  expertDown(recorder, {
    uses: [weightFragments[down.format]],
    buffers: { hidden, ids: routing.ids, routing: routing.weights, weight: down, y, batch },
    constants,
    grid: [Math.ceil(x.columns / outputs), x.rows],
  });
  return y;
};

/** Expert by expert: products of an expert's weights with all the rows that chose it. */
export const grouped: ExpertsOp = ({ recorder, batchBuffer: batch }, x, routing, { experts, topK, gateUp, down }) => {
  const inner = down.columns;
  const pairCount = x.rows * topK;
  // Tiles no larger than what an expert has to fill them with.
  const rows = [16, 32].find((size) => pairCount / experts <= size) ?? 64;
  const tileCount = Math.floor(pairCount / rows) + Math.min(experts, pairCount);
  const pairs = recorder.tensor("expert pairs", 1, pairCount);
  const tiles = recorder.tensor("expert tiles", tileCount, 4);
  groupTokens(recorder, {
    uses: [tileRows(rows)],
    buffers: { ids: routing.ids, pairs, tiles, batch },
    constants: { EXPERTS: experts, TOP_K: topK, TILES: tileCount },
    grid: [experts],
  });
  const constants = { COLUMNS: x.columns, INNER: inner, TOP_K: topK };
  const hidden = recorder.tensor("expert hidden", pairCount, inner);
  groupedGateUp(recorder, {
    uses: [tileRows(rows), weightFragments[gateUp.format]],
    buffers: { input: x, pairs, tiles, weight: gateUp, output: hidden },
    constants,
    grid: [tileCount, Math.ceil(inner / 32)],
  });
  const parts = recorder.tensor("expert parts", pairCount, x.columns);
  groupedDown(recorder, {
    uses: [tileRows(rows), weightFragments[down.format]],
    buffers: { input: hidden, pairs, tiles, weight: down, output: parts },
    constants,
    grid: [tileCount, Math.ceil(x.columns / 64)],
  });
  const y = recorder.tensor("experts", x.rows, x.columns);
  combineExperts(recorder, {
    buffers: { parts, routing: routing.weights, y, batch },
    constants: { COLUMNS: x.columns, TOP_K: topK },
    grid: [Math.ceil(x.columns / 256), x.rows],
  });
  return y;
};
