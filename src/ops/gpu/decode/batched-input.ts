import type { Recorder } from "../../../gpu/recorder.ts";
import type { GpuTensor } from "../../../gpu/resources.ts";
import type { Fragment } from "../../../gpu/shader.ts";
import { keeping, keepingDigits, quantizeRows } from "../../../kernels/batched/quantize.ts";
import { sliceTile } from "../../../kernels/batched/slices.ts";
import { digits } from "../../../kernels/decode/digits.ts";
import { inputs } from "../../../kernels/decode/inputs.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import type { GpuContext } from "../gpu-ops.ts";
import type { Input } from "./fused.ts";

/** A product's input: its rows as digits, as floats, or as f16 with a scale each. */
export interface Staged extends Wanted {
  readonly rows: number;
  readonly columns: number;
  readonly digits: GpuTensor;
  readonly digitScales: GpuTensor;
  readonly hasDigits: boolean;
  readonly floats: GpuTensor | undefined;
  readonly halves: { readonly halves: GpuTensor; readonly halfScales: GpuTensor } | undefined;
}

/** What products want of their input besides digits, and how these are ordered. */
export interface Wanted {
  /** Digits in the order of weights of 8 bits. */
  readonly isWide: boolean;
  readonly keeps: keyof typeof keeping;
}

/** A tensor that is not recorded yet, because what asks for it may take over the last step. */
export interface Deferred {
  readonly y: GpuTensor;
  /** Records it as it is. */
  alone(): void;
  /** Records it on the way to what products want of `input`, where there is a kernel for that. */
  quantized(input: Input, outputs: Outputs): boolean;
}

/** Where a kernel leaves what products want. */
interface Outputs {
  readonly uses: readonly Fragment[];
  readonly sizes: Readonly<Record<string, number>>;
  /** Sizes of a workgroup for a row. */
  readonly threads: Readonly<Record<"lanes" | "teams" | "workgroup" | "rounds", number>>;
  readonly buffers: Readonly<Record<string, GpuTensor>>;
  /** The same without digits, where the product that asks wants f16 only. */
  readonly withoutDigits: Pick<Outputs, "uses" | "buffers"> | undefined;
}

/** Makes of an input what products want, along with what is left to do for it. */
export function stageInput(gpu: GpuContext, input: Input, wanted: Wanted, deferred?: Deferred): Staged {
  const { recorder, batchBuffer: batch } = gpu;
  const { isWide, keeps } = wanted;
  const { rows, columns } = input.x;
  const { profile } = recorder;
  const { subgroupMaxSize: lanes, maxInvocations } = profile;
  const workgroup = lanes * Math.floor(Math.min(maxInvocations, 1024, columns / 8 + lanes - 1) / lanes);
  const values = recorder.tensor("digits", rows, columns / 2);
  const digitScales = recorder.tensor("digit scales", rows, columns / 16);
  const floats = keeps === "floats" ? recorder.tensor("floats", rows, columns) : undefined;
  const halves = keeps === "halves" ? halfRows(recorder, rows, columns) : undefined;
  const kept = { ...(floats && { floats }), ...halves };
  const order = digits[isWide ? "q8" : "q4"];
  const outputs: Outputs = {
    uses: [order, keeping[keeps], keepingDigits.yes],
    sizes: { blocks: columns / 32, ...(halves && { m: profile.matrix!.m, k: profile.matrix!.k }) },
    threads: {
      lanes,
      teams: workgroup / lanes,
      workgroup,
      rounds: Math.ceil(columns / 8 / workgroup),
    },
    buffers: { ...kept, digits: values, digitScales },
    withoutDigits: halves && { uses: [order, keeping.halves, keepingDigits.no], buffers: kept },
  };
  const staged = { rows, columns, digits: values, digitScales, hasDigits: true, floats, halves, ...wanted };
  if (deferred?.quantized(input, outputs)) return { ...staged, hasDigits: !outputs.withoutDigits };
  deferred?.alone();
  quantizeRows(recorder, {
    uses: [sizes({ ...outputs.threads, ...outputs.sizes }), inputs[input.kind], ...outputs.uses],
    buffers: {
      ...outputs.buffers,
      x: input.x,
      batch,
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
  return staged;
}

/** Rows in f16 are read as whole matrices. */
function halfRows(recorder: Recorder, rows: number, columns: number) {
  const whole = sliceTile(recorder.profile.matrix!).rows;
  return {
    halves: recorder.tensor("halves", Math.ceil(rows / whole) * whole, columns / 2),
    halfScales: recorder.tensor("scales of halves", rows, 1),
  };
}
