import { invariant } from "../../errors.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { embedKernel } from "../../kernels/dense/embed.ts";
import { gatedRmsNormKernel } from "../../kernels/dense/gated-rms-norm.ts";
import { gatedRmsNormHeadsKernel } from "../../kernels/dense/gated-rms-norm-heads.ts";
import { lastRowsKernel } from "../../kernels/dense/last-rows.ts";
import { mixExpertsKernel } from "../../kernels/dense/mix-experts.ts";
import { rmsNormKernel } from "../../kernels/dense/rms-norm.ts";
import { swiGluKernel } from "../../kernels/dense/swi-glu.ts";
import { reduceThreads } from "../../kernels/lib/reduce.ts";
import { weightFragments } from "../../kernels/lib/weights.ts";
import type { Batch } from "../batch.ts";
import type { Norm } from "../ops.ts";
import type { GpuContext } from "./gpu-ops.ts";

export function embed({ recorder, batchBuffer }: GpuContext, table: GpuWeight, batch: Batch): GpuTensor {
  const y = recorder.tensor("embed", batch.maxTokens, table.columns);
  embedKernel(recorder, {
    uses: [weightFragments[table.format]],
    buffers: { weight: table, batch: batchBuffer, y },
    constants: { COLUMNS: table.columns },
    grid: [batch.maxTokens],
  });
  return y;
}

export function rmsNorm(
  { recorder, batchBuffer }: GpuContext,
  x: GpuTensor,
  { weight, eps }: Norm<GpuWeight>,
): GpuTensor {
  const y = recorder.tensor("rms-norm", x.rows, x.columns);
  rmsNormKernel(recorder, {
    buffers: { x, factor: weight, batch: batchBuffer, y },
    constants: { WORKGROUP: reduceThreads(recorder.profile), COLUMNS: x.columns, EPS: eps },
    grid: [x.rows],
  });
  return y;
}

export function gatedRmsNorm(
  { recorder, batchBuffer }: GpuContext,
  x: GpuTensor,
  gate: GpuTensor,
  { weight, eps }: Norm<GpuWeight>,
): GpuTensor {
  const y = recorder.tensor("gated-rms-norm", x.rows, x.columns);
  const heads = x.columns / weight.columns;
  invariant(Number.isInteger(heads), `gated-rms-norm: ${x.columns} columns in heads of ${weight.columns}`);
  const buffers = { x, gate, factor: weight, batch: batchBuffer, y };
  const constants = { HEADS: heads, HEAD_DIM: weight.columns, EPS: eps };
  const { subgroups, subgroupMinSize, subgroupMaxSize } = recorder.profile;
  const isHead = subgroups && subgroupMinSize === subgroupMaxSize && weight.columns === 4 * subgroupMinSize;
  if (isHead && [x.offset, x.stride, gate.offset, gate.stride].every((size) => size % 4 === 0)) {
    const threads = 8 * subgroupMinSize;
    const grid = [Math.ceil(x.columns / 4 / threads), x.rows] as const;
    gatedRmsNormHeadsKernel(recorder, { buffers, constants: { ...constants, WORKGROUP: threads }, grid });
  } else {
    const threads = reduceThreads(recorder.profile);
    gatedRmsNormKernel(recorder, { buffers, constants: { ...constants, WORKGROUP: threads }, grid: [heads, x.rows] });
  }
  return y;
}

export function swiGlu({ recorder, batchBuffer }: GpuContext, x: GpuTensor): GpuTensor {
  const columns = x.columns / 2;
  const y = recorder.tensor("swi-glu", x.rows, columns);
  swiGluKernel(recorder, {
    buffers: { x, batch: batchBuffer, y },
    constants: { COLUMNS: columns },
    grid: [Math.ceil(columns / 64), x.rows],
  });
  return y;
}

export function mixExperts(
  { recorder, batchBuffer }: GpuContext,
  parts: { residual: GpuTensor; routed: GpuTensor; shared: GpuTensor; gate: GpuTensor },
): GpuTensor {
  const { residual, routed, shared, gate } = parts;
  const y = recorder.tensor("mix-experts", residual.rows, residual.columns);
  mixExpertsKernel(recorder, {
    buffers: { residual, routed, sharedExpert: shared, gate, batch: batchBuffer, y },
    constants: { COLUMNS: y.columns },
    grid: [Math.ceil(y.columns / 64), y.rows],
  });
  return y;
}

export function lastRows({ recorder, batchBuffer }: GpuContext, x: GpuTensor, batch: Batch): GpuTensor {
  const y = recorder.tensor("last-rows", batch.maxSequences, x.columns);
  lastRowsKernel(recorder, {
    buffers: { x, batch: batchBuffer, y },
    constants: { COLUMNS: x.columns },
    grid: [Math.ceil(x.columns / 64), batch.maxSequences],
  });
  return y;
}
