import { invariant } from "../../../errors.ts";
import type { DeviceProfile } from "../../../gpu/profile.ts";
import type { GpuTensor, GpuWeight } from "../../../gpu/resources.ts";
import { convDelta, convolving, deltaColumns } from "../../../kernels/decode/conv-delta.ts";
import { digits, isNibbles, isPacked } from "../../../kernels/decode/digits.ts";
import { decodeDown, decodeGateUp, decodeGateUpPaged, downRows } from "../../../kernels/decode/experts.ts";
import { inputs } from "../../../kernels/decode/inputs.ts";
import { MAX_PARTS, product as productKernel, productParts } from "../../../kernels/decode/product.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import type { DeltaWeights, Norm } from "../../ops.ts";
import type { AttentionRanges } from "../attention.ts";
import type { GpuContext } from "../gpu-ops.ts";
import { closeStop, type GpuExperts, openStop } from "../moe.ts";
import { CONV_RING, type GpuRecurrentState } from "../state.ts";

/** Whether a device runs the kernels of this folder: subgroups of one size, integer dot products, ten buffers to a shader. */
export const canFuse = (p: DeviceProfile): boolean =>
  p.subgroups &&
  p.packedDot &&
  p.subgroupMinSize === p.subgroupMaxSize &&
  p.subgroupMaxSize >= 8 &&
  p.maxBuffers >= 10 &&
  p.maxInvocations >= 2 * p.subgroupMaxSize;

/** Rows of a decode step that the kernels of batches take. */
export const MAX_BATCHED_ROWS = 64;

/** What a product makes of its input while it reads it. */
export type Input =
  | { readonly kind: "plain"; readonly x: GpuTensor }
  | { readonly kind: "rmsNorm"; readonly x: GpuTensor; readonly norm: Norm<GpuWeight> }
  | { readonly kind: "gatedRmsNorm"; readonly x: GpuTensor; readonly gate: GpuTensor; readonly norm: Norm<GpuWeight> };

/** The kernels that take several ops at once, for so many rows as a step has. */
export interface DecodeKernels {
  /** Whether these weights can share a dispatch with `input`. */
  canProduct(input: Input, weights: readonly GpuWeight[], profile: DeviceProfile): boolean;
  /** input · Wᵀ (+ plus) for each weight: views of one tensor. */
  product(gpu: GpuContext, input: Input, weights: readonly GpuWeight[], plus?: GpuTensor): GpuTensor[];
  /** Convolution and delta rule of one token of each sequence, where `canConvDelta`: [rows, Hv·dv]. */
  convGatedDelta(gpu: GpuContext, parts: DeltaParts): GpuTensor;
  canMixExperts(layer: Pick<ExpertParts, "x" | "experts" | "sharedDown" | "residual">, profile: DeviceProfile): boolean;
  /** Routing, experts, shared expert, mix and residual: [rows, H]. */
  routedExperts(gpu: GpuContext, parts: ExpertParts): GpuTensor;
  /** Joins ranges of attention, or leaves that to what asks for them. */
  mergeAttention?(gpu: GpuContext, ranges: AttentionRanges): GpuTensor;
  /** Records what is left to do for a tensor, where a product of its norm could have done it on the way. */
  settle?(gpu: GpuContext, tensor: GpuTensor): void;
}

/** Kernels of a step of one row. */
export const oneRowKernels = (): DecodeKernels => ({
  canProduct,
  product,
  convGatedDelta,
  canMixExperts,
  routedExperts,
});

/** input · Wᵀ (+ plus) of one row for each weight, in one dispatch. */
function product({ recorder }: GpuContext, input: Input, weights: readonly GpuWeight[], plus?: GpuTensor): GpuTensor[] {
  const { x } = input;
  const lanes = recorder.profile.subgroupMaxSize;
  const blocks = x.columns / 32;
  const total = weights.reduce((sum, w) => sum + w.rows, 0);
  const y = recorder.tensor(weights[0].label, 1, total);
  const packedRows = weights.reduce((sum, w) => sum + (isPacked(w.format) ? w.rows : 0), 0);
  const { teams, rowsPerTeam } = fitted(packedRows >= LARGE_ROWS ? LARGE : SMALL, recorder.profile);
  const constants: Record<string, number> = {};
  let groups = 0;
  let start = 0;
  weights.forEach((w, p) => {
    constants[`ROWS${p}`] = w.rows;
    constants[`START${p}`] = start;
    constants[`GROUPS${p}`] = Math.ceil(w.rows / (teams * (isPacked(w.format) ? rowsPerTeam : 1)));
    start += w.rows;
    groups += constants[`GROUPS${p}`];
  });
  const fixed = {
    lanes,
    teams,
    workgroup: teams * lanes,
    blocks,
    steps: Math.ceil(blocks / lanes),
    plainSteps: Math.ceil((4 * blocks) / lanes),
    rounds: Math.ceil((4 * blocks) / (teams * lanes)),
    rowsPerTeam,
  };
  productKernel(recorder, {
    uses: [
      sizes(fixed),
      inputs[input.kind],
      ...productParts(
        weights.map((w) => w.format),
        plus !== undefined,
      ),
    ],
    buffers: {
      x,
      y,
      ...(input.kind !== "plain" && { factor: input.norm.weight }),
      ...(input.kind === "gatedRmsNorm" && { gate: input.gate }),
      ...(plus && { plus }),
      ...Object.fromEntries(weights.map((w, p) => [`weight${p}`, w])),
    },
    constants: {
      COLUMNS: x.columns,
      ...constants,
      ...(input.kind !== "plain" && { EPS: input.norm.eps }),
      ...(input.kind === "gatedRmsNorm" && { HEAD_DIM: input.norm.weight.columns }),
    },
    grid: [groups],
  });
  let from = 0;
  return weights.map((w) => {
    const view = { ...y, columns: w.rows, offset: from };
    from += w.rows;
    return view;
  });
}

/**
 * Subgroups of a workgroup, and rows of each. Measured on an H200 with the 80B model: a workgroup stages its input once, so
 * few large ones suit small matrices; rows that share what is staged suit large ones, as far as registers last.
 */
const LARGE = { teams: 8, rowsPerTeam: 4 };
const SMALL = { teams: 16, rowsPerTeam: 1 };
const LARGE_ROWS = 4096;
const GATE_UP = { teams: 16, pairs: 1 };
const DOWN = { teams: 16, rowsPerTeam: 1 };
/**
 * Columns of S for each subgroup of the delta rule, in fours. With one sequence each had better wait for nobody; with more,
 * what a workgroup convolves once is worth the wait.
 */
const DELTA = {
  one: { teams: 2, fours: 1, convolves: "alone" },
  more: { teams: 8, fours: 2, convolves: "together" },
} as const;

function canProduct(input: Input, weights: readonly GpuWeight[], profile: DeviceProfile): boolean {
  const packed = new Set(weights.map((w) => w.format).filter(isPacked));
  return (
    input.x.rows === 1 &&
    weights.length <= MAX_PARTS &&
    packed.size <= 1 &&
    input.x.columns * 4 * 2 <= profile.maxWorkgroupBytes - 1024 &&
    fitsInput(input, profile)
  );
}

/** Whether threads of a subgroup can make digits of an input, and its norm on the way. */
export function fitsInput(input: Input, profile: DeviceProfile): boolean {
  const isAligned = ({ offset, stride, rows }: GpuTensor) => offset % 4 === 0 && (rows === 1 || stride % 4 === 0);
  const isHeadFit = (headDim: number) =>
    isPowerOfTwo(headDim / 8) && headDim >= 32 && headDim / 8 <= profile.subgroupMaxSize;
  return (
    isAligned(input.x) &&
    input.x.columns % 32 === 0 &&
    (input.kind !== "gatedRmsNorm" || (isHeadFit(input.norm.weight.columns) && isAligned(input.gate)))
  );
}

export interface DeltaParts {
  readonly x: GpuTensor;
  readonly factors: GpuWeight;
  readonly gates: GpuTensor;
  readonly delta: DeltaWeights<GpuWeight>;
  readonly state: GpuRecurrentState;
}

export const canConvDelta = ({ x, factors, delta: { shape } }: DeltaParts): boolean =>
  x.offset % 4 === 0 &&
  (x.rows === 1 || x.stride % 4 === 0) &&
  factors.format === "f32" &&
  shape.convTaps === 4 &&
  factors.columns === 4 &&
  shape.keyDim % 4 === 0 &&
  shape.valueDim % 4 === 0;

/** Convolution and delta rule of one token of each sequence: [rows, Hv·dv]. */
export function convGatedDelta(
  { recorder, batchBuffer }: GpuContext,
  { x, factors, gates, delta, state }: DeltaParts,
): GpuTensor {
  const { keyHeads, valueHeads, keyDim, valueDim } = delta.shape;
  const lanes = recorder.profile.subgroupMaxSize;
  const y = recorder.tensor("gated-delta", x.rows, valueHeads * valueDim);
  const { teams, fours, convolves } = fitted(x.rows === 1 ? DELTA.one : DELTA.more, recorder.profile);
  convDelta(recorder, {
    uses: [
      sizes({ lanes, teams, workgroup: teams * lanes, fours }),
      deltaColumns(fours, Math.ceil(keyDim / 4 / lanes)),
      convolving[convolves],
    ],
    buffers: {
      x,
      gates,
      negA: delta.negA,
      dtBias: delta.dtBias,
      state: state.delta,
      ring: state.conv,
      y,
      factors,
      batch: batchBuffer,
    },
    constants: {
      KEY_HEADS: keyHeads,
      VALUE_HEADS: valueHeads,
      KEY_DIM: keyDim,
      VALUE_DIM: valueDim,
      RING: CONV_RING,
    },
    grid: [Math.ceil(valueDim / (4 * fours * teams)), valueHeads, x.rows],
  });
  return y;
}

/** A sparse layer's inputs: `siblings` are the products of its normed input, which share a tensor. */
export interface ExpertParts {
  readonly x: GpuTensor;
  readonly norm: Norm<GpuWeight>;
  readonly experts: GpuExperts;
  readonly logits: GpuTensor;
  readonly sharedGateUp: GpuTensor;
  readonly sharedGate: GpuTensor;
  readonly sharedDown: GpuWeight;
  readonly residual: GpuTensor;
}

function canMixExperts(
  {
    x,
    experts: { gateUp, down, topK, paging },
    sharedDown,
    residual,
  }: Omit<ExpertParts, "logits" | "sharedGateUp" | "sharedGate">,
  profile: DeviceProfile,
): boolean {
  const innerBlocks = topK * down.columns + sharedDown.columns;
  return (
    x.rows === 1 &&
    // The host has to see what goes into the experts.
    !paging?.sums &&
    x.offset % 4 === 0 &&
    residual.offset === 0 &&
    topK <= profile.subgroupMaxSize &&
    isNibbles(gateUp.format) &&
    isNibbles(down.format) &&
    sharedDown.format === down.format &&
    innerBlocks * 2.5 <= profile.maxWorkgroupBytes - 1024
  );
}

/** Routing, experts, shared expert, mix and residual of one token: [1, H]. */
function routedExperts(gpu: GpuContext, parts: ExpertParts): GpuTensor {
  const { recorder, batchBuffer } = gpu;
  const { x, norm, experts, logits, sharedGateUp, sharedGate, sharedDown, residual } = parts;
  const { gateUp, down, topK, paging } = experts;
  const { profile } = recorder;
  invariant(sharedGateUp.scratch === sharedGate.scratch, "the shared expert's parts lie apart");
  const lanes = profile.subgroupMaxSize;
  const inner = down.columns;
  const { pairs, teams: gateUpTeams } = fitted(GATE_UP, profile);
  const hidden = recorder.tensor("expert hidden", topK, inner);
  const routing = recorder.tensor("expert routing", 1, 2 * topK);
  const blocks = x.columns / 32;
  const common = { lanes, topK };
  const firstHalf = {
    uses: [
      sizes({
        ...common,
        teams: gateUpTeams,
        workgroup: gateUpTeams * lanes,
        blocks,
        // One subgroup looks for experts meanwhile.
        rounds: Math.ceil((4 * blocks) / ((gateUpTeams - 1) * lanes)),
        pairs,
        steps: Math.ceil(blocks / lanes),
        share: Math.ceil(experts.experts / lanes),
      }),
      digitsOf(gateUp),
    ],
    buffers: { x, factor: norm.weight, logits, hidden, routing, weight: gateUp },
    constants: { COLUMNS: x.columns, INNER: inner, EXPERTS: experts.experts, EPS: norm.eps },
    grid: [Math.ceil(inner / (gateUpTeams * pairs)), topK],
  } as const;
  if (paging) {
    const input = { kind: "rmsNorm", x, norm } as const;
    const stop = openStop(gpu, experts, { kind: "decode" }, 1, "rows", (router) =>
      canProduct(input, [router], profile) ? product(gpu, input, [router])[0] : undefined,
    );
    decodeGateUpPaged(recorder, {
      ...firstHalf,
      buffers: { ...firstHalf.buffers, table: paging.table, report: paging.report, batchState: batchBuffer },
      constants: { ...firstHalf.constants, LAYER: stop.layer, CHOSEN_AT: stop.chosenAt },
    });
  } else {
    decodeGateUp(recorder, firstHalf);
  }
  const y = recorder.tensor("mix-experts", 1, x.columns);
  const downBlocks = (topK * inner + sharedDown.columns) / 32;
  const { teams, rowsPerTeam } = fitted(DOWN, profile);
  const expertBlocks = (topK * inner) / 32;
  decodeDown(recorder, {
    uses: [
      sizes({
        ...common,
        teams,
        workgroup: teams * lanes,
        blocks: downBlocks,
        expertBlocks,
        rounds: Math.ceil((4 * downBlocks) / (teams * lanes)),
        rowsPerTeam,
      }),
      digitsOf(down),
      downRows(rowsPerTeam, Math.ceil(expertBlocks / lanes), Math.ceil((downBlocks - expertBlocks) / lanes)),
    ],
    buffers: {
      hidden,
      routing,
      residual,
      siblings: { ...sharedGate, offset: 0 },
      y,
      weight: down,
      sharedWeight: sharedDown,
    },
    constants: {
      COLUMNS: x.columns,
      INNER: inner,
      SHARED_INNER: sharedDown.columns,
      SHARED_AT: sharedGateUp.offset,
      GATE_AT: sharedGate.offset,
    },
    grid: [Math.ceil(x.columns / (teams * rowsPerTeam))],
  });
  closeStop(gpu, experts);
  return y;
}

function digitsOf({ label, format }: GpuWeight) {
  invariant(isPacked(format), `${label} is ${format}, not packed`);
  return digits[format];
}

const isPowerOfTwo = (n: number): boolean => Number.isInteger(Math.log2(n));

/** As many subgroups as a workgroup of this device holds. */
const fitted = <S extends { readonly teams: number }>(
  shape: S,
  { maxInvocations, subgroupMaxSize }: DeviceProfile,
): S => ({
  ...shape,
  teams: Math.min(shape.teams, Math.floor(maxInvocations / subgroupMaxSize)),
});
