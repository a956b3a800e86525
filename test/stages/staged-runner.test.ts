import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Engine, type EngineRequest } from "../../src/engine/engine.ts";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { tensorShapes } from "../../src/models/qwen3-next/tensor-shapes.ts";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import { prefillParts } from "../../src/stages/staged-runner.ts";
import { loadGpuModel } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";
import { memoryCheckpoint } from "../support/memory-checkpoint.ts";
import { random } from "../support/random.ts";
import { openStagedModel, type StagedModel } from "../support/staged-model.ts";
import { TINY } from "../support/tiny-model.ts";

const SHAPE = { ...TINY, num_hidden_layers: 6, full_attention_interval: 3 };
const OPTIONS = { maxContext: 512, maxBatchTokens: 256, maxSequences: 4, snapshots: 4, cacheTokens: 1024 };

const checkpoint = () =>
  memoryCheckpoint(SHAPE, tensorShapes(parseConfig(SHAPE), { projections: "fused", experts: "single" }));

const prompt = (seed: number, length: number): number[] => {
  const next = random(seed);
  return Array.from({ length }, () => Math.floor(next() * 96));
};

const REQUESTS: EngineRequest[] = [
  { prompt: prompt(1, 5), sampling: { ...GREEDY, maxTokens: 20 } },
  { prompt: prompt(2, 300), sampling: { ...GREEDY, maxTokens: 9 } },
  { prompt: prompt(3, 70), sampling: { ...GREEDY, temperature: 1, seed: 5, maxTokens: 14 } },
  { prompt: prompt(4, 130), sampling: { ...GREEDY, temperature: 0.7, seed: 6, frequencyPenalty: 0.5, maxTokens: 30 } },
  // The beginning of the second, and of the fourth, which leave a snapshot each.
  { prompt: [...prompt(2, 300).slice(0, 250), 1, 2, 3], sampling: { ...GREEDY, maxTokens: 6 } },
  { prompt: [...prompt(4, 130), 7], sampling: { ...GREEDY, repetitionPenalty: 1.3, maxTokens: 12 } },
  { prompt: prompt(7, 40), sampling: { ...GREEDY, maxTokens: 12 }, mask: (reply) => only(reply.length) },
];

/** Lets a reply have tokens of one residue of 7 each time. */
function only(step: number): Uint32Array<ArrayBuffer> {
  const mask = new Uint32Array(3);
  for (let id = step % 7; id < 96; id += 7) mask[id >> 5] |= 1 << (id & 31);
  return mask;
}

async function reply(engine: Engine, request: EngineRequest, onToken = () => {}): Promise<number[]> {
  const tokens: number[] = [];
  for await (const event of engine.generate(request)) {
    if (event.kind !== "token") continue;
    tokens.push(event.sampled.token);
    onToken();
  }
  return tokens;
}

const replies = (engine: Engine): Promise<number[][]> => Promise.all(REQUESTS.map((request) => reply(engine, request)));

async function oneByOne(engine: Engine): Promise<number[][]> {
  const all: number[][] = [];
  for (const request of REQUESTS) all.push(await reply(engine, request));
  return all;
}

describe("layers in several stages", () => {
  let single: ModelRunner;
  let expected: number[][];

  beforeAll(async () => {
    single = await loadGpuModel(checkpoint(), OPTIONS);
    expected = await oneByOne(new Engine(single));
  });
  afterAll(() => single.dispose());

  test.each([[[3]], [[1, 4]]])("that begin at 0 and %j give the tokens of one device", async (cuts) => {
    const model = await openStagedModel(checkpoint(), cuts, OPTIONS);
    expect(await oneByOne(new Engine(model.runner))).toEqual(expected);
    const engine = new Engine(model.runner);
    expect(await replies(engine)).toEqual(expected);
    expect(await replies(engine)).toEqual(expected);
    // A prompt again, and one that goes on from it: what was kept of the states is of all stages.
    for (const i of [3, 5]) expect(await reply(engine, REQUESTS[i])).toEqual(expected[i]);
    expect(engine.stats().cachedTokens.hit).toBeGreaterThan(100);
    expect(engine.stats().blocks.used).toBe(0);
    expectOverlap(model, cuts.length + 1);
    model.dispose();
  });

  test("give the logits of one device for a text", async () => {
    const model = await openStagedModel(checkpoint(), [2], OPTIONS);
    const step = { tokens: prompt(9, 50), position: 0, slot: 0, blocks: [0] };
    const { logits } = await model.runner.score(step);
    expect(logits).toEqual((await single.score(step)).logits);
    model.dispose();
  });

  test("fail together when one is gone", async () => {
    const model = await openStagedModel(checkpoint(), [2], OPTIONS);
    const engine = new Engine(model.runner);
    const under = reply(engine, REQUESTS[0], () => model.runner.lose("stage 1 ended"));
    await expect(under).rejects.toMatchObject({ name: "DeviceLostError", reason: "stage 1 ended" });
    expect(engine.isLost).toBe(true);
    await expect(reply(engine, REQUESTS[0])).rejects.toMatchObject({ name: "DeviceLostError" });
    model.dispose();
  });
});

/** Decode steps were cut into parts, and the first stage got one before the last had done with the one before. */
function expectOverlap({ sent }: StagedModel, stages: number): void {
  const decodes = sent.filter(({ message: { kind }, link }) => kind === "decode" && link === 0);
  const rows = decodes.map(({ message }) => (message.kind === "decode" ? message.rows.length : 0));
  expect(Math.max(...rows)).toBeLessThanOrEqual(Math.ceil(4 / stages));
  const position = (id: number, link: number) =>
    sent.findIndex((one) => one.link === link && "id" in one.message && one.message.id === id);
  const ids = decodes.map(({ message }) => (message.kind === "decode" ? message.id : 0));
  expect(ids.some((id, i) => i > 0 && position(id, 0) < position(ids[i - 1], stages))).toBe(true);
}

test("a prefill is cut into parts of about as many tokens", () => {
  const step = (length: number, sample: boolean) => ({
    tokens: prompt(1, length),
    position: 10,
    slot: 0,
    blocks: [],
    sample,
  });
  const sizes = (steps: ReturnType<typeof step>[], count: number) =>
    prefillParts(steps, count).map((part) =>
      part.map(({ index, step }) => [index, step.position, step.tokens.length, step.sample]),
    );
  expect(sizes([step(30, true)], 2)).toEqual([[[0, 10, 30, true]]]);
  expect(sizes([step(256, true)], 2)).toEqual([[[0, 10, 128, false]], [[0, 138, 128, true]]]);
  expect(sizes([step(200, false), step(20, true), step(36, true)], 2)).toEqual([
    [[0, 10, 128, false]],
    [
      [1, 10, 20, true],
      [2, 10, 36, true],
      [0, 138, 72, false],
    ],
  ]);
});
