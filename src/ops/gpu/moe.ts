import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { expertDown } from "../../kernels/moe/expert-down.ts";
import { expertGateUp } from "../../kernels/moe/expert-gate-up.ts";
import { routeKernel } from "../../kernels/moe/route.ts";
import { weightFragments } from "../../kernels/lib/weights.ts";
import type { Batch } from "../batch.ts";
import type { ExpertWeights } from "../ops.ts";
import type { GpuContext, GpuRouting } from "./gpu-ops.ts";

export function route(gpu: GpuContext, logits: GpuTensor, topK: number, _batch: Batch): GpuRouting {
  const ids = gpu.recorder.tensor("expert ids", logits.rows, topK);
  const weights = gpu.recorder.tensor("expert weights", logits.rows, topK);
  routeKernel(gpu.recorder, {
    buffers: { logits, ids, weights, batch: gpu.batchBuffer },
    constants: { EXPERTS: logits.columns, TOP_K: topK },
    grid: [logits.rows],
  });
  return { ids, weights };
}

export function experts(
  gpu: GpuContext,
  x: GpuTensor,
  { ids, weights }: GpuRouting,
  { topK, gateUp, down }: ExpertWeights<GpuWeight>,
  _batch: Batch,
): GpuTensor {
  const { recorder, batchBuffer: batch } = gpu;
  const inner = down.columns;
  const hidden = recorder.tensor("expert hidden", x.rows * topK, inner);
  expertGateUp(recorder, {
    buffers: { x, ids, weight: gateUp, hidden, batch },
    constants: { COLUMNS: x.columns, INNER: inner, TOP_K: topK },
    uses: [weightFragments[gateUp.format]],
    grid: [Math.ceil(inner / 64), topK, x.rows],
  });
  const y = recorder.tensor("experts", x.rows, x.columns);
  expertDown(recorder, {
    buffers: { hidden, ids, routing: weights, weight: down, y, batch },
    constants: { COLUMNS: x.columns, INNER: inner, TOP_K: topK },
    uses: [weightFragments[down.format]],
    grid: [Math.ceil(x.columns / 64), x.rows],
  });
  return y;
}
