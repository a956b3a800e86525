import { describe, expect, it } from "vitest";
import type { ResolvedSampling, Runner } from "../../src/engine/runner.ts";
import { allBlocks } from "../../src/engine/runner.ts";
import { expectClose } from "../support/compare.ts";
import { readGolden } from "../support/golden.ts";
import { GREEDY } from "../support/greedy.ts";
import { fixtureFolder, openReferenceRunner } from "../support/reference-model.ts";

describe.each(["qwen3-next-tiny", "qwen3.5-dense-tiny"])("%s", (fixture) => {
  it("continues as the golden run, and scores what it scores", async () => {
    const golden = await readGolden(fixture);
    const runner = await open(fixture);
    expect(await reply(runner, GREEDY, golden.tokens)).toEqual(golden.greedy);

    const scores = await runner.score({ tokens: golden.tokens, position: 0, slot: 0, blocks: allBlocks(runner) }, true);
    expectClose(scores.logits, golden.logits, 1e-5, "logits");
    expect(scores.hidden.length).toBe(golden.hidden.length);
    for (const [i, hidden] of scores.hidden.entries()) expectClose(hidden, golden.hidden[i], 1e-5, `hidden ${i}`);
    expect(scores.experts.map((ids) => ids.length)).toEqual(golden.router.map((ids) => ids.length));
  });
});

describe("ReferenceRunner", async () => {
  const golden = await readGolden("qwen3-next-tiny");
  const prompt = golden.tokens.slice(0, 20);
  const runner = await open("qwen3-next-tiny");

  it("repeats a reply for the same seed, and gives another for another", async () => {
    const sampled = { ...GREEDY, temperature: 1, seed: 7 };
    const first = await reply(runner, sampled, prompt);
    expect(await reply(runner, sampled, prompt)).toEqual(first);
    expect(await reply(runner, { ...sampled, seed: 8 }, prompt)).not.toEqual(first);
  });

  it("ends a reply at a stop id and at maxTokens, and gives nothing after that", async () => {
    const whole = await reply(runner, GREEDY, prompt);
    const stop = whole[5];
    expect(await reply(runner, { ...GREEDY, stopIds: [stop] }, prompt)).toEqual(
      whole.slice(0, whole.indexOf(stop) + 1),
    );
    expect(await reply(runner, { ...GREEDY, maxTokens: 3 }, prompt)).toEqual(whole.slice(0, 3));
    expect(await runner.decode([{ slot: 0, position: 22, blocks: allBlocks(runner) }])).toEqual([undefined]);
  });

  it("counts the prompt for the repetition penalty", async () => {
    const whole = await reply(runner, GREEDY, prompt);
    runner.setSampling(0, { ...GREEDY, repetitionPenalty: 100 }, [...prompt, whole[0]]);
    const [sampled] = await runner.prefill([{ ...step(runner, prompt), sample: true }]);
    expect(sampled?.token).not.toBe(whole[0]);
  });

  it("restores a copied state exactly", async () => {
    const [before, after] = [prompt.slice(0, 13), prompt.slice(13)];
    await runner.prefill([step(runner, before)]);
    runner.copyState(0, 1);
    const rest = step(runner, after, before.length);
    const expected = await runner.score(rest, false);
    expect(await runner.score(rest, false)).not.toEqual(expected);
    runner.copyState(1, 0);
    expect(await runner.score(rest, false)).toEqual(expected);
  });

  it("runs steps in the order of their calls, and lets others have their turn", async () => {
    const expected = await reply(runner, GREEDY, prompt);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    runner.setSampling(0, { ...GREEDY, maxTokens: 4 }, prompt);
    const row = { slot: 0, blocks: allBlocks(runner) };
    const steps = await Promise.all([
      runner.prefill([{ ...step(runner, prompt), sample: true, logits: true }]),
      ...Array.from({ length: 4 }, (_, i) => runner.decode([{ ...row, position: prompt.length + i }])),
    ]);
    const sampled = steps.flat();
    clearInterval(timer);
    expect(sampled.map((s) => s?.token)).toEqual([...expected.slice(0, 4), undefined]);
    expect(sampled.map((s) => s?.isLast)).toEqual([false, false, false, true, undefined]);
    expect(sampled[0]?.logits?.length).toBe(runner.limits.vocabularySize);
    expect(turns).toBeGreaterThan(1);
  });

  it("says what memory it holds, and fails once it is disposed", async () => {
    const disposed = await open("qwen3-next-tiny");
    const { weights, kvCache, recurrentState, snapshots, total } = disposed.memory;
    expect(snapshots).toBe(recurrentState);
    expect(weights + kvCache + recurrentState + snapshots).toBe(total);
    disposed.dispose();
    await expect(disposed.prefill([step(disposed, prompt)])).rejects.toThrow("disposed");
  });

  it("rounds weights as it is asked to", async () => {
    const quantised = await open("qwen3-next-tiny", "q4");
    const exact = await runner.score(step(runner, prompt), false);
    const rounded = await quantised.score(step(quantised, prompt), false);
    expect(rounded.logits).not.toEqual(exact.logits);
    expectClose(rounded.logits, exact.logits, 0.5);
  });
});

const open = (fixture: string, quantization?: "q4") => openReferenceRunner(fixtureFolder(fixture), { quantization });

const step = (runner: Runner, tokens: readonly number[], position = 0) => ({
  tokens,
  position,
  slot: 0,
  blocks: allBlocks(runner),
});

async function reply(runner: Runner, sampling: ResolvedSampling, prompt: readonly number[]): Promise<number[]> {
  runner.setSampling(0, sampling, prompt);
  const ids: number[] = [];
  let [sampled] = await runner.prefill([{ ...step(runner, prompt), sample: true }]);
  while (sampled) {
    ids.push(sampled.token);
    const position = prompt.length + ids.length - 1;
    [sampled] = await runner.decode([{ slot: 0, position, blocks: allBlocks(runner) }]);
  }
  return ids;
}
