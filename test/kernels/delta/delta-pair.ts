import type { GpuBuffer, GpuTensor } from "../../../src/gpu/resources.ts";
import { gatedDelta as gpuGatedDelta } from "../../../src/ops/gpu/delta.ts";
import type { DeltaShape } from "../../../src/ops/ops.ts";
import { gatedDelta } from "../../../src/reference/gated-delta.ts";
import { hostBatch } from "../../../src/reference/host-batch.ts";
import { deltaChannels, type HostRecurrentState, hostRecurrentState } from "../../../src/reference/host-state.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import { batchLayout } from "../../../src/runner/batch-buffer.ts";
import { expectClose } from "../../support/compare.ts";
import { type HarnessOptions, KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";

/** Some next tokens of the sequence in `slot`. */
export interface Part {
  readonly tokens: number;
  readonly position: number;
  readonly slot: number;
  /** Its sequence has ended: nothing may be stored for it. */
  readonly isInactive?: boolean;
}

export interface DeltaPairOptions extends HarnessOptions {
  readonly shape: DeltaShape;
  readonly kind: "prefill" | "decode";
  readonly maxTokens: number;
  readonly slots?: number;
  /** Mean and deviation of a: large values mean strong decay, very negative ones none. */
  readonly a?: readonly [mean: number, deviation: number];
  /** What values are multiplied by. */
  readonly valueScale?: number;
}

export const SLOTS = 4;
const INACTIVE = 0xffffffff;

/** The delta rule on the GPU and in plain loops, each with its state; a step takes the same random tokens to both. */
export class DeltaPair {
  readonly #qkv: Float32Array<ArrayBuffer>;
  readonly #gates: Float32Array<ArrayBuffer>;
  readonly #negA: Float32Array<ArrayBuffer>;
  readonly #dtBias: Float32Array<ArrayBuffer>;
  readonly host: HostRecurrentState;
  readonly #y: GpuTensor;
  #seed = 100;

  private constructor(
    readonly options: DeltaPairOptions,
    readonly harness: KernelHarness,
    readonly delta: GpuBuffer,
  ) {
    const { shape, maxTokens, kind } = options;
    const { valueHeads } = shape;
    this.#qkv = new Float32Array(maxTokens * deltaChannels(shape));
    this.#gates = new Float32Array(maxTokens * 2 * valueHeads);
    this.#negA = normals(valueHeads, 1).map((x) => -Math.exp(0.5 * x));
    this.#dtBias = normals(valueHeads, 2, 0.1);
    this.host = hostRecurrentState(shape, SLOTS);
    const y = gpuGatedDelta(
      harness.context,
      harness.input("qkv", maxTokens, deltaChannels(shape), this.#qkv),
      harness.input("gates", maxTokens, 2 * valueHeads, this.#gates),
      { shape, negA: harness.vector("negA", this.#negA), dtBias: harness.vector("dtBias", this.#dtBias) },
      { kind: "recurrent", conv: delta, delta },
      { maxTokens, maxSequences: harness.batch.limits.maxSequences, kind },
    );
    this.#y = harness.output(y);
  }

  /** State that no sequence has written yet is NaN on the GPU. */
  static async create(options: DeltaPairOptions): Promise<DeltaPair> {
    const { shape, maxTokens, without } = options;
    const limits = { maxTokens, maxSequences: 4, maxBlocks: 64, ...options.limits };
    // Chunks are tested on software adapters too, where the recurrent kernel would take their place.
    const harness = await KernelHarness.create({
      without: { serialWorkgroups: true, matrix: true, ...without },
      limits,
    });
    const size = SLOTS * shape.valueHeads * shape.valueDim * shape.keyDim;
    return new DeltaPair(options, harness, harness.buffer("delta", new Float32Array(size).fill(Number.NaN)));
  }

  /** Runs `parts` on both sides; compares outputs and the states of the parts' slots. */
  async step(parts: readonly Part[], limit = 1e-5): Promise<void> {
    const { actual, expected } = await this.run(parts);
    expectClose(actual, expected, limit, "outputs");
    await this.expectStates(
      parts.map((part) => part.slot),
      limit,
    );
  }

  /** As `step`, without comparing; takes random tokens, or those given. */
  async run(parts: readonly Part[], given?: DeltaInputs): Promise<DeltaRun> {
    const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
    const inputs = given ?? this.#random(tokens);
    this.#qkv.fill(Number.NaN).set(inputs.qkv);
    this.#gates.fill(Number.NaN).set(inputs.gates);
    const { harness, options } = this;
    const { shape } = options;
    harness.writeBatch(parts.map((part) => ({ ...part, tokens: new Uint32Array(part.tokens), blocks: BLOCKS })));
    this.#deactivate(parts);
    await harness.run();
    const actual = (await harness.read(this.#y)).subarray(0, tokens * shape.valueHeads * shape.valueDim);
    const expected = gatedDelta(
      hostTensor(tokens, deltaChannels(shape), inputs.qkv),
      hostTensor(tokens, 2 * shape.valueHeads, inputs.gates),
      {
        shape,
        negA: hostTensor(1, shape.valueHeads, this.#negA),
        dtBias: hostTensor(1, shape.valueHeads, this.#dtBias),
      },
      this.host,
      hostBatch(parts.map((part) => ({ ...part, tokenIds: new Array(part.tokens).fill(0), blockTable: [] }))),
    );
    const row = (data: Float32Array<ArrayBuffer>, t: number) =>
      data.slice((t * data.length) / tokens, ((t + 1) * data.length) / tokens);
    return {
      actual,
      expected: expected.data,
      tokens: (t) => ({ qkv: row(inputs.qkv, t), gates: row(inputs.gates, t) }),
    };
  }

  async expectStates(slots: readonly number[], limit: number): Promise<void> {
    const { valueHeads, keyDim, valueDim } = this.options.shape;
    const size = valueHeads * keyDim * valueDim;
    const state = new Float32Array(await this.harness.readBuffer(this.delta));
    for (const slot of slots) {
      const expected = new Float32Array(size);
      for (let h = 0; h < valueHeads; h++) {
        for (let i = 0; i < keyDim; i++) {
          for (let c = 0; c < valueDim; c++) {
            expected[(h * valueDim + c) * keyDim + i] =
              this.host.delta[((slot * valueHeads + h) * keyDim + i) * valueDim + c];
          }
        }
      }
      expectClose(state.subarray(slot * size, (slot + 1) * size), expected, limit, `state of slot ${slot}`);
    }
  }

  #deactivate(parts: readonly Part[]): void {
    const { device, batch } = this.harness;
    let row = batchLayout(batch.limits).positions;
    for (const { tokens, isInactive } of parts) {
      if (isInactive) device.queue.writeBuffer(batch.gpu!, 4 * row, new Uint32Array(tokens).fill(INACTIVE));
      row += tokens;
    }
  }

  #random(tokens: number): DeltaInputs {
    const { shape, a = [0, 1], valueScale = 1 } = this.options;
    const gates = normals(tokens * 2 * shape.valueHeads, this.#seed++);
    for (let i = 0; i < gates.length; i++) {
      if (i % (2 * shape.valueHeads) >= shape.valueHeads) gates[i] = a[0] + a[1] * gates[i];
    }
    const channels = deltaChannels(shape);
    const firstValue = 2 * shape.keyHeads * shape.keyDim;
    const qkv = normals(tokens * channels, this.#seed++);
    return { qkv: qkv.map((x, i) => (i % channels < firstValue ? x : valueScale * x)), gates };
  }
}

/** Rows of the op's inputs. */
export interface DeltaInputs {
  readonly qkv: Float32Array<ArrayBuffer>;
  readonly gates: Float32Array<ArrayBuffer>;
}

export interface DeltaRun {
  readonly actual: Float32Array;
  readonly expected: Float32Array;
  /** What row t was given. */
  tokens(t: number): DeltaInputs;
}

const BLOCKS = Array.from({ length: 64 }, (_, i) => i);
