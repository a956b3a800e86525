import { describe, expect, test } from "vitest";
import type { ResolvedSampling } from "../../../src/engine/runner.ts";
import type { ModelRunner } from "../../../src/runner/model-runner.ts";
import { expectClose } from "../../support/compare.ts";
import { readGolden } from "../../support/golden.ts";
import { allBlocks, openGpuModel } from "../../support/gpu-model.ts";
import { FIXTURES, fixtureFolder } from "../../support/reference-model.ts";

const GREEDY: ResolvedSampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  seed: 0,
  logitBias: new Map(),
  stopIds: [],
  maxTokens: 24,
};

describe.each(FIXTURES)("%s on the GPU", (fixture) => {
  test("logits, hidden states and experts are those of the golden run", async () => {
    const golden = await readGolden(fixture);
    const runner = await openGpuModel(fixtureFolder(fixture));
    const step = { tokens: golden.tokens, position: 0, slot: 0, blocks: allBlocks(runner) };
    const scores = await runner.score(step, true);
    scores.hidden.forEach((hidden, i) => {
      expectClose(hidden, golden.hidden[i], 2e-4, `hidden state ${i}`);
    });
    expectClose(scores.logits, golden.logits, 2e-4, "logits");
    for (const [layer, ids] of scores.experts.entries()) {
      expect(differentChoices(ids, golden.router[layer], golden.tokens.length), `layer ${layer}`).toBe(0);
    }
    runner.dispose();
  });

  test("a greedy reply is that of the golden run, however the prompt is cut", async () => {
    const golden = await readGolden(fixture);
    const runner = await openGpuModel(fixtureFolder(fixture));
    for (const cut of [0, 1, 2, 3, 63, 64, 65]) {
      expect(await greedyReply(runner, golden.tokens, cut), `prompt cut at ${cut}`).toEqual(golden.greedy);
    }
    runner.dispose();
  });
});

async function greedyReply(runner: ModelRunner, prompt: readonly number[], cut: number): Promise<number[]> {
  runner.setSampling(GREEDY, prompt);
  const blocks = allBlocks(runner);
  if (cut > 0) await runner.prefill({ tokens: prompt.slice(0, cut), position: 0, slot: 0, blocks }, { sample: false });
  const rest = { tokens: prompt.slice(cut), position: cut, slot: 0, blocks };
  let sampled = await runner.prefill(rest, { sample: true });
  const reply: number[] = [];
  while (sampled) {
    reply.push(sampled.token);
    sampled = await runner.decode();
  }
  return reply;
}

/** Rows whose sets of experts differ. */
function differentChoices(ids: Uint32Array, expected: Int32Array, rows: number): number {
  const k = expected.length / rows;
  let different = 0;
  for (let row = 0; row < rows; row++) {
    const set = (all: ArrayLike<number>) => Array.from({ length: k }, (_, i) => all[row * k + i]).sort((a, b) => a - b);
    if (set(ids).join() !== set(expected).join()) different++;
  }
  return different;
}
