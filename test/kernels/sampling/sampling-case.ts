import { expect } from "vitest";
import type { ResolvedSampling, Sampled } from "../../../src/engine/runner.ts";
import type { Device } from "../../../src/gpu/device.ts";
import { randomAt } from "../../../src/reference/random.ts";
import { IN_PROMPT, processLogits, sampleToken } from "../../../src/reference/sampling.ts";
import { batchLayout } from "../../../src/runner/batch-buffer.ts";
import { Sampler } from "../../../src/runner/sampler.ts";
import { type HarnessOptions, KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";

export const sampling = (options: Partial<ResolvedSampling> = {}): ResolvedSampling => ({
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  seed: 1,
  logitBias: new Map(),
  stopIds: [],
  maxTokens: 1000,
  ...options,
});

interface Drawer {
  readonly sampling: ResolvedSampling;
  readonly prompt?: readonly number[];
  /** Rows of the first step; 1 by default. */
  readonly rows?: number;
}

interface Options {
  readonly vocabulary: number;
  readonly usable?: number;
  readonly drawers: readonly Drawer[];
  /** [sequences, V], the same in every step. */
  readonly logits: Float32Array<ArrayBuffer>;
  readonly without?: HarnessOptions["without"];
}

/** The sampler over a batch of sequences, beside what the definition says of each draw. */
export class SamplingCase {
  readonly #counts: readonly Uint32Array[];
  readonly #drawn: number[];
  /** Draws whose token is the definition's only for a u, topP or minP moved by rounding. */
  moved = 0;

  private constructor(
    readonly harness: KernelHarness,
    readonly sampler: Sampler,
    readonly options: Options,
  ) {
    this.#drawn = options.drawers.map(() => 0);
    this.#counts = options.drawers.map(({ sampling, prompt = [] }) => {
      const counts = new Uint32Array(options.vocabulary);
      if (sampling.repetitionPenalty !== 1) for (const id of prompt) counts[id] = IN_PROMPT;
      return counts;
    });
  }

  static async create(options: Options): Promise<SamplingCase> {
    const { vocabulary, usable = vocabulary, drawers, logits, without } = options;
    const maxSequences = drawers.length + 1;
    const harness = await KernelHarness.create({ without, limits: { maxSequences, maxTokens: 300 } });
    const sampler = samplerOf(harness, { vocabulary, usable, maxSequences });
    drawers.forEach(({ sampling, prompt = [] }, s) => {
      sampler.set(s, sampling, prompt);
    });
    let slot = 0;
    harness.writeBatch(
      drawers.map(({ rows = 1 }) => ({ tokens: new Array(rows).fill(0), position: 5, slot: slot++, blocks: [0] })),
    );
    // One row more than there are sequences, as in a plan for more.
    const input = new Float32Array(maxSequences * vocabulary).fill(Number.NaN);
    input.set(logits);
    sampler.record(harness.context, harness.input("logits", maxSequences, vocabulary, input));
    return new SamplingCase(harness, sampler, options);
  }

  async step(): Promise<(Sampled | undefined)[]> {
    await this.harness.run();
    const bytes = await this.harness.readBuffer(this.sampler.results);
    return this.options.drawers.map((_, s) => Sampler.parse(bytes, s));
  }

  /** Draws once for every sequence and compares with the definition. */
  async check(): Promise<void> {
    const results = await this.step();
    results.forEach((result, s) => {
      const { sampling } = this.options.drawers[s];
      expect(result?.isFinite).toBe(true);
      this.#compare(s, result!.token, randomAt(sampling.seed, this.#drawn[s]++));
      this.#counts[s][result!.token]++;
    });
  }

  /**
   * The GPU computes shares in f32: each is off by less than 1e-5 of itself, and their sum over V tokens, counted in
   * units of 2^-31 that are rounded down, by V units more. So u and topP may act as if moved by that much, minP by the
   * first part, and nothing else may differ.
   */
  #compare(s: number, token: number, u: number): void {
    const { vocabulary, usable = vocabulary, logits, drawers } = this.options;
    const { sampling } = drawers[s];
    const row = logits.slice(s * vocabulary, s * vocabulary + usable);
    const processed = processLogits(row, sampling, this.#counts[s]);
    const expected = sampleToken(processed, sampling, u);
    if (token === expected) return;
    this.moved++;
    const error = 1e-5 + vocabulary * 2 ** -31;
    const possible = new Set<number>();
    for (const topP of around(sampling.topP, sampling.topP < 1 ? error : 0)) {
      for (const minP of around(sampling.minP, sampling.minP * 1e-5)) {
        for (const moved of around(u, error)) possible.add(sampleToken(processed, { ...sampling, topP, minP }, moved));
      }
    }
    expect([...possible], `sequence ${s}: ${token} instead of ${expected}`).toContain(token);
  }

  async counts(sequence: number): Promise<Uint32Array> {
    const { vocabulary } = this.options;
    const bytes = await this.harness.readBuffer(this.sampler.counts);
    return new Uint32Array(bytes, sequence * vocabulary * 4, vocabulary);
  }

  /** The batch as the device left it. */
  async batch() {
    const words = new Uint32Array(await this.harness.readBuffer(this.harness.batch));
    const layout = batchLayout(this.harness.batch.limits);
    const [rows, sequences] = words;
    return {
      rows,
      sequences,
      tokens: [...words.slice(layout.tokens, layout.tokens + rows)],
      positions: [...words.slice(layout.positions, layout.positions + rows)],
      sequenceOf: [...words.slice(layout.sequences, layout.sequences + rows)],
      starts: [...words.slice(layout.starts, layout.starts + sequences + 1)],
      slots: [...words.slice(layout.slots, layout.slots + sequences)],
    };
  }

  dispose(): void {
    this.harness.dispose();
  }
}

const around = (value: number, error: number): readonly number[] =>
  error > 0 ? [value, Math.max(0, value - error), Math.min(1 - 2 ** -24, value + error)] : [value];

/** A sampler whose buffers are the harness's. */
function samplerOf(
  harness: KernelHarness,
  sizes: { vocabulary: number; usable: number; maxSequences: number },
): Sampler {
  const device = {
    queue: harness.device.queue,
    buffer: (label: string, bytes: number) => harness.buffer(label, new Uint32Array(bytes / 4)).gpu,
  };
  return new Sampler({ ...sizes, device: device as unknown as Device });
}

/** Records drawing for one sequence from normal logits, for a bench. */
export function samplingRecord(harness: KernelHarness, vocabulary: number, options: Partial<ResolvedSampling>): void {
  const sampler = samplerOf(harness, { vocabulary, usable: vocabulary, maxSequences: 1 });
  sampler.set(0, sampling(options), []);
  harness.writeBatch([{ tokens: [0], position: 0, slot: 0, blocks: [0] }]);
  sampler.record(harness.context, harness.input("logits", 1, vocabulary, normals(vocabulary, 2, 3)));
}
