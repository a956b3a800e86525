import { invariant } from "../../../errors.ts";
import type { DeviceProfile } from "../../../gpu/profile.ts";
import type { Recorder } from "../../../gpu/recorder.ts";
import type { GpuTensor, GpuWeight, Scratch } from "../../../gpu/resources.ts";
import {
  batchedDown,
  batchedDownRows,
  batchedGateUp,
  batchedMix,
  batchedRoute,
  gateUpRows,
} from "../../../kernels/batched/experts.ts";
import { batchedParts, batchedProduct } from "../../../kernels/batched/product.ts";
import { keeping, mixAndQuantize, quantizeRows } from "../../../kernels/batched/quantize.ts";
import { sliceParts, sliceProduct, sliceThreads, sliceTile } from "../../../kernels/batched/slices.ts";
import { laneSum, teamSums } from "../../../kernels/batched/team-sum.ts";
import { digits, isNibbles, isPacked } from "../../../kernels/decode/digits.ts";
import { inputs } from "../../../kernels/decode/inputs.ts";
import { MAX_PARTS } from "../../../kernels/decode/product.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import type { GpuContext } from "../gpu-ops.ts";
import { type DecodeKernels, type ExpertParts, fitsInput, type Input } from "./fused.ts";

/** Rows of a decode step that these kernels take. */
export const MAX_BATCHED_ROWS = 64;

/**
 * Kernels of a decode step of several rows. Each input is made into digits once, in a dispatch of its own, and every weight
 * is read once for all rows: a team of threads keeps a few rows of W in registers and takes the input's rows one after the
 * other. So what a row comes to does not depend on how many there are.
 */
export function batchedKernels(): DecodeKernels {
  const staged = new Map<Scratch, Staged>();
  /** What sparse layers have left, until somebody asks for it: most often the next layer's norm. */
  const mixes = new Map<Scratch, Mix>();
  const settle = (gpu: GpuContext, { scratch }: GpuTensor) => {
    const mix = mixes.get(scratch);
    if (!mixes.delete(scratch) || !mix) return;
    mixParts(gpu, mix);
  };
  const stage = (gpu: GpuContext, input: Input, wanted: Wanted): Staged => {
    const known = staged.get(input.x.scratch);
    const isKnown =
      known &&
      known.factor === factorOf(input) &&
      known.offset === input.x.offset &&
      known.isWide === wanted.isWide &&
      (wanted.keeps === "nothing" || known.keeps === wanted.keeps);
    if (input.kind !== "rmsNorm") settle(gpu, input.x);
    const result = isKnown ? known : quantize(gpu, input, wanted, mixes.get(input.x.scratch));
    mixes.delete(input.x.scratch);
    staged.set(input.x.scratch, result);
    return result;
  };
  return {
    canProduct,
    product: (gpu, input, weights, plus) => {
      const wide = weights.some((w) => w.format === "q8");
      if (canSlice(gpu.recorder.profile, input.x)) {
        return sliced(gpu, stage(gpu, input, { isWide: false, keeps: "halves" }), weights, plus);
      }
      const keeps = weights.some((w) => !isPacked(w.format)) ? "floats" : "nothing";
      return product(gpu, stage(gpu, input, { isWide: wide, keeps }), weights, plus);
    },
    canMixExperts,
    routedExperts: (gpu, parts) => {
      const input = { kind: "rmsNorm", x: parts.x, norm: parts.norm } as const;
      const mix = routedExperts(gpu, parts, stage(gpu, input, { isWide: false, keeps: "nothing" }));
      mixes.set(mix.y.scratch, mix);
      return mix.y;
    },
    settle,
  };
}

/** A product's input: its rows as digits, and perhaps as floats or as f16 with a scale each. */
interface Staged extends Wanted {
  readonly rows: number;
  readonly columns: number;
  readonly digits: GpuTensor;
  readonly digitScales: GpuTensor;
  readonly floats: GpuTensor | undefined;
  readonly halves: { readonly halves: GpuTensor; readonly halfScales: GpuTensor } | undefined;
  readonly factor: GpuWeight | undefined;
  readonly offset: number;
}

interface Wanted {
  /** Digits in the order of weights of 8 bits. */
  readonly isWide: boolean;
  readonly keeps: keyof typeof keeping;
}

const factorOf = (input: Input) => (input.kind === "plain" ? undefined : input.norm.weight);

function quantize({ recorder, batchBuffer }: GpuContext, input: Input, { isWide, keeps }: Wanted, mix?: Mix): Staged {
  const { x } = input;
  const { rows, columns } = x;
  const { subgroupMaxSize: lanes, maxInvocations } = recorder.profile;
  const workgroup = lanes * Math.floor(Math.min(maxInvocations, 1024, columns / 8 + lanes - 1) / lanes);
  const values = recorder.tensor("digits", rows, columns / 2);
  const digitScales = recorder.tensor("digit scales", rows, columns / 16);
  const floats = keeps === "floats" ? recorder.tensor("floats", rows, columns) : undefined;
  const halves = keeps === "halves" ? halfRows(recorder, rows, columns) : undefined;
  const fragments = [
    sizes({
      lanes,
      teams: workgroup / lanes,
      workgroup,
      rounds: Math.ceil(columns / 8 / workgroup),
      blocks: columns / 32,
      ...(keeps === "halves" && { m: recorder.profile.matrix!.m, k: recorder.profile.matrix!.k }),
      ...mix?.sizes,
    }),
    digits[isWide ? "q8" : "q4"],
    keeping[keeps],
  ];
  const buffers = {
    digits: values,
    digitScales,
    batch: batchBuffer,
    ...(floats && { floats }),
    ...halves,
  };
  if (mix && input.kind === "rmsNorm") {
    mixAndQuantize(recorder, {
      uses: fragments,
      buffers: { ...buffers, ...mix.buffers, y: mix.y, factor: input.norm.weight },
      constants: { COLUMNS: columns, EPS: input.norm.eps },
      grid: [rows],
    });
  } else {
    quantizeRows(recorder, {
      uses: [...fragments, inputs[input.kind]],
      buffers: {
        ...buffers,
        x,
        ...(input.kind !== "plain" && { factor: input.norm.weight }),
        ...(input.kind === "gatedRmsNorm" && { gate: input.gate }),
      },
      constants: {
        COLUMNS: columns,
        ...(input.kind !== "plain" && { EPS: input.norm.eps }),
        ...(input.kind === "gatedRmsNorm" && { HEAD_DIM: input.norm.weight.columns }),
      },
      grid: [rows],
    });
  }
  return {
    rows,
    columns,
    digits: values,
    digitScales,
    floats,
    halves,
    keeps,
    isWide,
    factor: factorOf(input),
    offset: x.offset,
  };
}

/** Rows from which products of matrices take less time than those of digits. */
const MIN_SLICED_ROWS = 16;

function canSlice({ matrix, serialWorkgroups, maxInvocations, subgroupMaxSize }: DeviceProfile, x: GpuTensor): boolean {
  return (
    matrix !== undefined &&
    !serialWorkgroups &&
    x.rows >= MIN_SLICED_ROWS &&
    x.columns % sliceTile(matrix).step === 0 &&
    sliceThreads(subgroupMaxSize) <= maxInvocations
  );
}

/** Rows in f16 are read as whole matrices. */
function halfRows(recorder: Recorder, rows: number, columns: number) {
  const whole = sliceTile(recorder.profile.matrix!).rows;
  return {
    halves: recorder.tensor("halves", Math.ceil(rows / whole) * whole, columns / 2),
    halfScales: recorder.tensor("scales of halves", rows, 1),
  };
}

function canProduct(input: Input, weights: readonly GpuWeight[], profile: DeviceProfile): boolean {
  const packed = new Set(weights.map((w) => w.format).filter(isPacked));
  const buffers = weights.reduce((sum, w) => sum + (isPacked(w.format) ? 2 : 1), 5);
  return (
    input.x.rows <= MAX_BATCHED_ROWS &&
    (weights.length === 0 || packed.size === 1) &&
    weights.length <= MAX_PARTS &&
    buffers <= profile.maxBuffers &&
    fitsInput(input, profile)
  );
}

/** input · Wᵀ (+ plus) of some rows for each weight, in one dispatch. */
function product(
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
function sliced(
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

const MIX_THREADS = 128;

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

/** Subgroups of an expert's workgroup, places of a team at a time, and how often it goes on to others. */
interface ExpertShape {
  readonly subgroups: number;
  readonly lanes: number;
  readonly places: number;
  readonly turns: number;
}

const GATE_UP: ExpertShape = { subgroups: 4, lanes: 32, places: 2, turns: 4 };
const DOWN: ExpertShape = { subgroups: 4, lanes: 16, places: 4, turns: 4 };

/** Rows of the shared expert's input that a workgroup takes. */
const SHARED_ROWS = 4;

const ROUTE_SUBGROUPS = 4;

/** The sizes of an expert kernel for a device; `rowsPerPlace` is 2 for gates with their ups. */
function expertSizes(
  { subgroups, lanes, places, turns }: ExpertShape,
  columns: number,
  rowsPerPlace: number,
  profile: DeviceProfile,
) {
  const { subgroupMaxSize: subgroup, maxInvocations, specialize } = profile;
  const blocks = columns / 32;
  const fitLanes = Math.min(lanes, subgroup);
  const steps = Math.ceil(blocks / fitLanes);
  // What a thread can hold of W.
  const held = 2 ** Math.floor(Math.log2((specialize ? 16 : 8) / (steps * rowsPerPlace)));
  const fitPlaces = Math.min(places, Math.max(1, held));
  const workgroup = subgroup * Math.min(subgroups, Math.floor(maxInvocations / subgroup));
  const teams = workgroup / fitLanes;
  // Blocks of 32 places become digits together.
  const fitTurns = Math.max(turns, Math.ceil(32 / (teams * fitPlaces)));
  return {
    sizes: { lanes: fitLanes, teams, workgroup, subgroup, blocks, places: fitPlaces, turns: fitTurns },
    rows: rowsPerPlace * fitPlaces,
    steps,
    span: teams * fitPlaces * fitTurns,
  };
}

function canMixExperts(
  { x, experts: { gateUp, down, topK, paging }, sharedDown }: Pick<ExpertParts, "x" | "experts" | "sharedDown">,
  profile: DeviceProfile,
): boolean {
  return (
    !paging &&
    x.rows <= MAX_BATCHED_ROWS &&
    isNibbles(gateUp.format) &&
    down.format === gateUp.format &&
    sharedDown.format === down.format &&
    sharedDown.columns === down.columns &&
    down.columns % 32 === 0 &&
    x.rows * (topK + 1) <= profile.maxGrid &&
    x.rows * (expertSizes(GATE_UP, x.columns, 2, profile).span + 2) * 4 <= profile.maxWorkgroupBytes
  );
}

/** What is left of a sparse layer when its experts are done. */
interface Mix {
  readonly y: GpuTensor;
  readonly buffers: { readonly parts: GpuTensor; readonly weights: GpuTensor; readonly residual: GpuTensor };
  readonly sizes: { readonly topK: number; readonly rows: number };
}

/** Routing, experts and shared expert of some rows. */
function routedExperts(
  gpu: GpuContext,
  { experts, logits, sharedGateUp, sharedGate, sharedDown, residual }: ExpertParts,
  { rows, columns, digits: values, digitScales }: Staged,
): Mix {
  const { recorder, batchBuffer: batch } = gpu;
  const { profile } = recorder;
  const { gateUp, down, topK } = experts;
  const subgroup = profile.subgroupMaxSize;
  const inner = down.columns;
  const format = gateUp.format;
  invariant(isPacked(format), `${gateUp.label} is ${format}, not packed`);
  invariant(
    [sharedGateUp, sharedGate].every((part) => part.scratch === logits.scratch),
    "the products of the layer's input lie apart",
  );
  const pairs = rows * topK;
  const common = { topK, rows };

  const ids = recorder.tensor("expert ids", rows, topK);
  const weights = recorder.tensor("expert weights", rows, topK + 1);
  const hiddenDigits = recorder.tensor("expert hidden", pairs + rows, inner / 2);
  const hiddenScales = recorder.tensor("expert hidden scales", pairs + rows, inner / 16);
  const workgroup = subgroup * Math.min(ROUTE_SUBGROUPS, Math.floor(profile.maxInvocations / subgroup));
  batchedRoute(recorder, {
    uses: [
      sizes({ ...common, lanes: subgroup, workgroup, share: Math.ceil(experts.experts / subgroup) }),
      digits[format],
    ],
    buffers: { logits, ids, weights, hiddenDigits, hiddenScales, batch },
    constants: { EXPERTS: experts.experts, INNER: inner, SHARED_AT: sharedGateUp.offset, GATE_AT: sharedGate.offset },
    grid: [rows],
  });

  const first = expertSizes(GATE_UP, columns, 2, profile);
  batchedGateUp(recorder, {
    uses: [
      sizes({ ...common, ...first.sizes }),
      digits[format],
      teamSums(first.rows, first.sizes.lanes),
      gateUpRows(first.rows, first.steps),
    ],
    buffers: { digits: values, digitScales, ids, hiddenDigits, hiddenScales, weight: gateUp, batch },
    constants: { INNER: inner },
    grid: [Math.ceil(inner / first.span), pairs],
  });

  const second = expertSizes(DOWN, inner, 1, profile);
  const parts = recorder.tensor("expert parts", pairs + rows, columns);
  batchedDown(recorder, {
    uses: [
      sizes({ ...common, ...second.sizes, sharedRows: SHARED_ROWS }),
      digits[format],
      teamSums(second.rows, second.sizes.lanes),
      batchedDownRows(second.rows, second.steps),
    ],
    buffers: {
      digits: hiddenDigits,
      digitScales: hiddenScales,
      ids,
      y: parts,
      weight: down,
      sharedWeight: sharedDown,
      batch,
    },
    constants: { COLUMNS: columns },
    grid: [Math.ceil(columns / second.span), pairs + Math.ceil(rows / SHARED_ROWS)],
  });

  return {
    y: recorder.tensor("mix-experts", rows, columns),
    buffers: { parts, weights, residual },
    sizes: common,
  };
}

/** Mix and residual: [rows, H]. */
function mixParts({ recorder, batchBuffer: batch }: GpuContext, { y, buffers, sizes: common }: Mix): void {
  batchedMix(recorder, {
    uses: [sizes({ ...common, workgroup: MIX_THREADS })],
    buffers: { ...buffers, y, batch },
    constants: { COLUMNS: y.columns },
    grid: [Math.ceil(y.columns / (4 * MIX_THREADS)), y.rows],
  });
}
