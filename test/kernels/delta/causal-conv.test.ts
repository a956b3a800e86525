import { describe, expect, test } from "vitest";
import { causalConv as gpuCausalConv } from "../../../src/ops/gpu/delta.ts";
import { CONV_RING, type GpuRecurrentState } from "../../../src/ops/gpu/state.ts";
import { causalConv } from "../../../src/reference/causal-conv.ts";
import { hostBatch } from "../../../src/reference/host-batch.ts";
import type { HostRecurrentState } from "../../../src/reference/host-state.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import { expectClose } from "../../support/compare.ts";
import { KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";
import type { Part } from "./delta-pair.ts";

const SLOTS = 3;
const MAX_TOKENS = 80;

/** The convolution on the GPU, its ring NaN at first, beside the one in plain loops, which keeps `taps − 1` inputs. */
class ConvPair {
  readonly #ring: Float32Array<ArrayBuffer>;
  readonly #host: HostRecurrentState;
  readonly #weight: Float32Array<ArrayBuffer>;
  #seed = 1;

  constructor(
    readonly taps = 4,
    /** Of a wider tensor, from column `offset` on. */
    readonly channels = 70,
    readonly offset = 3,
  ) {
    this.#ring = new Float32Array(SLOTS * CONV_RING * channels).fill(Number.NaN);
    const conv = new Float32Array(SLOTS * (taps - 1) * channels);
    this.#host = { kind: "recurrent", conv, delta: new Float32Array() };
    this.#weight = normals(channels * taps, 7);
  }

  async step(kind: "prefill" | "decode", parts: readonly Part[]): Promise<void> {
    const { channels, offset } = this;
    const limits = { maxTokens: MAX_TOKENS, maxSequences: SLOTS };
    const harness = await KernelHarness.create({ limits, without: { serialWorkgroups: true } });
    const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
    const columns = channels + offset + 4;
    const wide = new Float32Array(MAX_TOKENS * columns).fill(Number.NaN);
    const values = normals(tokens * channels, this.#seed++);
    for (let t = 0; t < tokens; t++) wide.set(values.subarray(t * channels, (t + 1) * channels), t * columns + offset);
    const x = { ...harness.input("wide", MAX_TOKENS, columns, wide), columns: channels, offset };
    const ring = harness.buffer("ring", this.#ring);
    const state: GpuRecurrentState = { kind: "recurrent", conv: ring, delta: ring };
    const weight = { ...harness.vector("taps", this.#weight), rows: channels, columns: this.taps };
    const y = harness.output(gpuCausalConv(harness.context, x, weight, state, { ...limits, kind }));
    harness.writeBatch(parts.map((part) => ({ ...part, tokens: new Uint32Array(part.tokens), blocks: [0, 1, 2, 3] })));
    await harness.run();
    const expected = causalConv(
      hostTensor(tokens, channels, values),
      hostTensor(channels, this.taps, this.#weight),
      this.#host,
      hostBatch(parts.map((part) => ({ ...part, tokenIds: new Array(part.tokens).fill(0), blockTable: [] }))),
    );
    expectClose((await harness.read(y)).subarray(0, tokens * channels), expected.data, 1e-6);
    this.#ring.set(new Float32Array(await harness.readBuffer(ring), 0, this.#ring.length));
    harness.dispose();
  }
}

describe("causal conv", () => {
  test.each([1, 2, 3, 4, 5, 8, 9, 64])("%i tokens, then other cuts, then single ones", async (tokens) => {
    const pair = new ConvPair();
    await pair.step("prefill", [{ tokens, position: 0, slot: 1 }]);
    await pair.step("prefill", [
      { tokens: 3, position: 0, slot: 2 },
      { tokens: 2, position: tokens, slot: 1 },
      { tokens: 10, position: 0, slot: 0 },
    ]);
    await pair.step("decode", [
      { tokens: 1, position: tokens + 2, slot: 1 },
      { tokens: 1, position: 3, slot: 2 },
    ]);
    await pair.step("decode", [{ tokens: 1, position: tokens + 3, slot: 1 }]);
    await pair.step("prefill", [{ tokens: 9, position: tokens + 4, slot: 1 }]);
    expect.hasAssertions();
  });

  test("decodes from the first token on", async () => {
    const pair = new ConvPair();
    for (let position = 0; position < 10; position++) await pair.step("decode", [{ tokens: 1, position, slot: 0 }]);
    expect.hasAssertions();
  });

  test.each([
    { taps: 1, channels: 70, offset: 3 },
    { taps: 2, channels: 70, offset: 3 },
    { taps: 3, channels: 300, offset: 4 },
    { taps: 4, channels: 300, offset: 0 },
  ])("$taps taps, $channels channels from $offset on", async ({ taps, channels, offset }) => {
    const pair = new ConvPair(taps, channels, offset);
    await pair.step("prefill", [{ tokens: 5, position: 0, slot: 0 }]);
    await pair.step("decode", [{ tokens: 1, position: 5, slot: 0 }]);
    await pair.step("prefill", [
      { tokens: 19, position: 6, slot: 0 },
      { tokens: 2, position: 0, slot: 1 },
    ]);
    expect.hasAssertions();
  });
});
