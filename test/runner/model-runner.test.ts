import { describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { allBlocks } from "../../src/engine/runner.ts";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import { openGpuModel } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { FIXTURES, fixtureFolder } from "../support/reference-model.ts";

const PROMPT = [5, 17, 300, 4, 99];

/** Everything by which a device makes something. */
const MAKING = [
  "createBuffer",
  "createBindGroup",
  "createBindGroupLayout",
  "createPipelineLayout",
  "createShaderModule",
  "createComputePipeline",
  "createComputePipelineAsync",
  "createQuerySet",
] as const;

/** Counts what a device makes, maps and submits, and the bytes of its buffers. */
class Census {
  made = 0;
  /** Dispatches of new plans. */
  bound = 0;
  mapped = 0;
  submitted = 0;
  bufferBytes = 0;

  readonly platform = new ObservedPlatform({ onDevice: (device) => this.#watch(device) });

  reset(): void {
    this.made = this.bound = this.mapped = this.submitted = 0;
  }

  #watch(device: GPUDevice): void {
    for (const name of MAKING) {
      const original = device[name].bind(device) as (...args: unknown[]) => unknown;
      Object.assign(device, {
        [name]: (...args: unknown[]) => {
          this.made++;
          if (name === "createBindGroup") this.bound++;
          const result = original(...args);
          if (name === "createBuffer") this.#watchBuffer(result as GPUBuffer);
          return result;
        },
      });
    }
    const { queue } = device;
    const submit = queue.submit.bind(queue);
    queue.submit = (buffers) => {
      this.submitted++;
      submit(buffers);
    };
    // Each access may give another wrapper.
    Object.defineProperty(device, "queue", { value: queue });
  }

  #watchBuffer(buffer: GPUBuffer): void {
    this.bufferBytes += buffer.size;
    const mapAsync = buffer.mapAsync.bind(buffer);
    buffer.mapAsync = (...args) => {
      this.mapped++;
      return mapAsync(...args);
    };
  }
}

describe("decode", () => {
  test("goes on with some of the rows before, and others join them whose tokens are known", async () => {
    const runner = await openGpuModel(fixtureFolder("qwen3-next-tiny"), {
      ...{ maxSequences: 4, maxContext: 256, cacheTokens: 1024 },
    });
    const count = 8;
    const rows = [0, 1, 2, 3].map((slot) => ({ slot, blocks: [2 * slot, 2 * slot + 1] }));
    const begin = async (slots: readonly number[]) => {
      const first: number[][] = [];
      for (const slot of slots) {
        const tokens = [...PROMPT, 40 + slot];
        runner.setSampling(slot, { ...GREEDY, maxTokens: count + 1 }, tokens);
        const [drawn] = await runner.prefill([{ ...rows[slot], tokens, position: 0, sample: true }]);
        first[slot] = [drawn!.token];
      }
      return first;
    };
    const alone = await begin([0, 1, 2, 3]);
    for (const row of rows) {
      const drawn = alone[row.slot];
      while (drawn.length < count) {
        const position = PROMPT.length + drawn.length;
        const [next] = await runner.decode([{ ...row, position, token: drawn.at(-1) }]);
        drawn.push(next!.token);
      }
    }
    // The first two are never waited for; the others are in every other step.
    const replies = await begin([0, 1, 2, 3]);
    const ahead = [0, 0, 0, 0];
    const step = (slots: readonly number[], known: readonly number[]) => {
      const asked = slots.map((slot) => {
        const position = PROMPT.length + replies[slot].length + ahead[slot]++;
        return { ...rows[slot], position, token: known.includes(slot) ? replies[slot].at(-1) : undefined };
      });
      const drawn = runner.decode(asked);
      return async () => {
        for (const [i, sampled] of (await drawn).entries()) {
          replies[slots[i]].push(sampled!.token);
          ahead[slots[i]]--;
        }
      };
    };
    let last = step([0, 1, 2, 3], [0, 1, 2, 3]);
    for (const others of [[], [3, 2], [], [3], []]) {
      const next = step([0, 1, ...others], others);
      await last();
      last = next;
    }
    await last();
    expect(replies.map(({ length }) => length)).toEqual([7, 7, 3, 4]);
    expect(replies).toEqual(alone.map((tokens, slot) => tokens.slice(0, replies[slot].length)));
    runner.dispose();
  });

  test("makes nothing, and reads back and submits once a step", async () => {
    const census = new Census();
    const runner = await openGpuModel(fixtureFolder("qwen3-next-tiny"), { platform: census.platform });
    runner.setSampling(0, { ...GREEDY, maxTokens: 100 }, PROMPT);
    const blocks = allBlocks(runner);
    await runner.prefill([{ tokens: PROMPT, position: 0, slot: 0, blocks, sample: true }]);
    census.reset();
    const readbacks = runner.readbacks;
    for (let i = 0; i < 50; i++) {
      expect(await runner.decode([{ slot: 0, position: PROMPT.length + i, blocks }])).toEqual([expect.anything()]);
    }
    expect(census).toMatchObject({ made: 0, mapped: 50, submitted: 50 });
    expect(runner.readbacks - readbacks).toBe(50);

    // A mask is asked for while the layers run, and holds for its draw.
    const mask = new Uint32Array(Math.ceil(runner.limits.vocabularySize / 32));
    mask[3] = 1 << 7;
    census.reset();
    const asked: number[] = [];
    const only = () => {
      asked.push(census.submitted);
      return mask;
    };
    const at = PROMPT.length + 50;
    expect(await runner.decode([{ slot: 0, position: at, blocks, mask: only }])).toMatchObject([{ token: 103 }]);
    expect(await runner.decode([{ slot: 0, position: at + 1, blocks, mask: () => undefined }])).not.toMatchObject([
      { token: 103 },
    ]);
    expect(asked).toEqual([1]);
    expect(census).toMatchObject({ made: 0, submitted: 4 });

    // With steps in flight a few staging buffers are made at first, one more where steps turn out to be short, and none after.
    const engine = new Engine(runner);
    let tokens = 0;
    for await (const event of engine.generate({ prompt: PROMPT, sampling: { ...GREEDY, maxTokens: 60 } })) {
      if (event.kind === "token" && ++tokens === 5) census.reset();
    }
    expect(tokens).toBe(60);
    expect(census.made).toBeLessThanOrEqual(1);
    expect(census.mapped).toBeLessThanOrEqual(55);
    engine.dispose();
  });
});

describe("host memory", () => {
  test("takes states that leave the device, and gives them back bit by bit", async () => {
    const folder = fixtureFolder("qwen3-next-tiny");
    const options = { maxContext: 256, cacheTokens: 384, maxBatchTokens: 64 };
    const [runner, other] = [await openGpuModel(folder, options), await openGpuModel(folder, options)];
    const engine = new Engine(runner, {}, 2 ** 26);
    const reference = new Engine(other);
    const ask = async (engine: Engine, prompt: readonly number[]) => {
      const logits: number[] = [];
      let cached = 0;
      const request = { prompt, sampling: { ...GREEDY, maxTokens: 3 }, logits: true };
      for await (const event of engine.generate(request)) {
        if (event.kind === "token") logits.push(...event.sampled.logits!);
        else cached = event.cached;
      }
      return { logits, cached };
    };
    // What comes back saves time for certain: prompts take long to be read, whatever the machine is busy with.
    const { prefill, transfer } = runner;
    const { download } = transfer;
    runner.prefill = async (steps) => {
      const drawn = await prefill.call(runner, steps);
      await new Promise((resolve) => setTimeout(resolve, 300));
      return drawn;
    };
    const arriving: Promise<unknown>[] = [];
    Object.assign(transfer, {
      download: (...args: Parameters<typeof download>) => {
        arriving.push(download(...args));
        return arriving.at(-1);
      },
    });
    const prompts = [1, 2, 3].map((s) => Array.from({ length: 150 }, (_, i) => 3 + ((i * 31 + 17 * s) % 200)));
    for (const prompt of prompts) await ask(engine, prompt);
    await expect.poll(() => engine.stats().host!.copies).toBeGreaterThan(1);
    await Promise.all(arriving);
    const longer = [...prompts[0], 7, 8, 9];
    const back = await ask(engine, longer);
    expect(back.cached).toBe(128);
    expect(engine.stats().host!.restoredTokens).toBe(128);
    // The reference reads it in the same steps.
    await ask(reference, prompts[0]);
    const kept = await ask(reference, longer);
    expect(back.logits.slice(0, 50)).toEqual(kept.logits.slice(0, 50));
    engine.dispose();
    reference.dispose();
  });
});

describe.each([...FIXTURES.map(fixtureFolder), "demo/public/models/sprout"])("memory of %s", (folder) => {
  test("is what the plan says, and is freed", async () => {
    const census = new Census();
    const { platform } = census;
    const runner = await openGpuModel(folder, { platform, maxBatchTokens: 128, snapshots: 4 });
    const { memory } = runner;
    const { total, ...parts } = memory;
    expect(Object.values(parts).reduce((a, b) => a + b, 0)).toBe(total);
    await useEveryStep(runner);
    expect(Math.abs(runner.allocatedBytes / total - 1)).toBeLessThan(0.03);
    expect(Math.abs(census.bufferBytes / total - 1)).toBeLessThan(0.03);
    runner.dispose();
    expect(platform.openDevices).toBe(0);
    expect(runner.allocatedBytes).toBe(0);
    await expect(platform.devices[0].lost).resolves.toMatchObject({ reason: "destroyed" });
  });
});

test("nothing is compiled after loading where all was to be", async () => {
  const census = new Census();
  const options = { platform: census.platform, maxBatchTokens: 128, maxSequences: 3 };
  const runner = await openGpuModel(fixtureFolder(FIXTURES[0]), { ...options, compile: "all" });
  census.reset();
  await useEveryStep(runner);
  const blocks = allBlocks(runner);
  for (const rows of [60, 20]) {
    const steps = [0, 1].map((slot) => ({
      tokens: Array.from({ length: rows }, (_, i) => i),
      position: 300,
      slot,
      blocks,
    }));
    await runner.prefill(steps.map((step, i) => ({ ...step, sample: i === 0 })));
    await runner.prefill(steps);
  }
  await runner.decode([0, 1].map((slot) => ({ slot, position: 400, blocks, token: 5 })));
  expect(census.bound).toBe(0);
  runner.dispose();
});

/** Steps of all kinds and sizes that a chat takes. */
async function useEveryStep(runner: ModelRunner): Promise<void> {
  const blocks = allBlocks(runner);
  runner.setSampling(0, GREEDY, PROMPT);
  let position = 0;
  for (const rows of [128, 5]) {
    for (const sample of [false, true]) {
      const tokens = Array.from({ length: rows }, (_, i) => i);
      await runner.prefill([{ tokens, position, slot: 0, blocks, sample, logits: true }]);
      position += rows;
    }
  }
  await runner.decode([{ slot: 0, position, blocks }]);
}
