import { invariant } from "../../../src/errors.ts";
import { byIds, grouped } from "../../../src/ops/gpu/moe.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import { experts as reference } from "../../../src/reference/moe.ts";
import { decodeRows } from "../../../src/weights/decode.ts";
import type { WeightFormat, WeightRows } from "../../../src/weights/format.ts";
import { type HarnessOptions, KernelHarness } from "../../support/kernel-harness.ts";
import { normals, random } from "../../support/random.ts";
import { makeWeight, writeRows } from "../dense/dense-cases.ts";

export interface MoeCase {
  readonly tokens: number;
  readonly experts: number;
  readonly topK: number;
  readonly inner: number;
  readonly hidden: number;
  readonly format: WeightFormat;
  /** Rows of the plan beyond those of the batch; they hold NaN. */
  readonly surplus?: number;
  /** The experts of a token; by default any. */
  readonly choose?: (token: number) => readonly number[];
}

/** Devices as the ops tell them apart; what they choose differs, and all of it runs on any. */
export const DEVICES = [
  { device: "subgroups of 8", options: {} },
  { device: "subgroups of 4", options: { profile: { subgroupMinSize: 4 } } },
  {
    device: "a GPU without subgroups",
    options: { without: { subgroups: true }, profile: { subgroupMaxSize: 32, serialWorkgroups: false } },
  },
] as const;

export const WAYS = { byIds, grouped } as const;

/** Everything of a case that does not depend on the device: inputs, encoded weights, and what the definition gives. */
export function prepare(shape: MoeCase) {
  const { tokens, experts, topK, inner, hidden, format, surplus = 0 } = shape;
  const isLarge = experts * inner * hidden > 4e6;
  const make = (rows: number, columns: number, seed: number) =>
    isLarge ? decoded(anyQ4(format, rows, columns, seed)) : makeWeight(format, rows, columns, seed);
  const gateUp = make(experts * 2 * inner, hidden, 1);
  const down = make(experts * hidden, inner, 2);
  const x = normals((tokens + surplus) * hidden, 3).fill(Number.NaN, tokens * hidden);
  const choose = shape.choose ?? anyExperts(experts, topK);
  const chosen = Array.from({ length: tokens }, (_, token) => choose(token)).flat();
  const next = random(5);
  const shares = chosen.map(() => 0.1 + next());
  return {
    shape,
    x,
    gateUp: gateUp.encoded,
    down: down.encoded,
    ids: Uint32Array.from({ length: (tokens + surplus) * topK }, (_, i) => chosen[i] ?? 0xffffffff),
    shares: Float32Array.from({ length: (tokens + surplus) * topK }, (_, i) => shares[i] ?? Number.NaN),
    expected: () =>
      reference(
        hostTensor(tokens, hidden, x.subarray(0, tokens * hidden)),
        {
          ids: hostTensor(tokens, topK, Float32Array.from(chosen)),
          weights: hostTensor(tokens, topK, Float32Array.from(shares)),
        },
        {
          experts,
          topK,
          gateUp: hostTensor(experts * 2 * inner, hidden, gateUp.values),
          down: hostTensor(experts * hidden, inner, down.values),
        },
      ).data,
  };
}

/** Records a prepared case on a device. `read` gives the rows of the batch, after a run. */
export async function record(prepared: ReturnType<typeof prepare>, way: keyof typeof WAYS, options: HarnessOptions) {
  const { shape, x, ids, shares, gateUp, down } = prepared;
  const { tokens, experts, topK, hidden, surplus = 0 } = shape;
  const rows = tokens + surplus;
  const harness = await KernelHarness.create({ ...options, limits: { maxTokens: Math.max(256, rows) } });
  writeRows(harness, [tokens]);
  const routing = { ids: harness.input("ids", rows, topK, ids), weights: harness.input("shares", rows, topK, shares) };
  const weights = { experts, topK, gateUp: harness.weight("gateUp", gateUp), down: harness.weight("down", down) };
  const y = harness.output(WAYS[way](harness.context, harness.input("x", rows, hidden, x), routing, weights));
  return { harness, read: async () => (await harness.read(y)).subarray(0, tokens * hidden) };
}

/** Different experts for a token, seeded; a few experts are more popular than the rest. */
function anyExperts(experts: number, topK: number): (token: number) => number[] {
  const next = random(4);
  return () => {
    const chosen = new Set<number>();
    while (chosen.size < topK) chosen.add(Math.floor(next() ** 1.5 * experts));
    return [...chosen];
  };
}

/** Weights of a real size in q4, all codes equally likely; encoding so many would take long. */
export function anyQ4(format: WeightFormat, rows: number, columns: number, seed: number): WeightRows {
  invariant(format === "q4", `large weights in ${format}`);
  const next = random(seed);
  const words = Uint32Array.from({ length: (rows * columns) / 8 }, () => next() * 2 ** 32);
  // f16 from 2^-7 to 2^-6.
  const scales = Uint16Array.from({ length: (rows * columns) / 32 }, () => 0x2000 + next() * 0x400);
  return { format, rows, columns, data: new Uint8Array(words.buffer), scales: new Uint8Array(scales.buffer) };
}

function decoded(encoded: WeightRows) {
  return { encoded, values: decodeRows(encoded) };
}
