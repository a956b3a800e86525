import { afterEach, beforeAll, expect, test } from "vitest";
import { restWhileWaiting, stayAwake } from "../../../src/platform/node/rest.ts";
import { testDevice } from "../../support/gpu.ts";

/** As Dawn's binding does: it asks on every turn of the event loop whether the result is there. */
class Binding {
  /** When it asked. */
  readonly asked: number[] = [];
  /** All is done, however long it was to take. */
  isOver = false;

  mapAsync(_mode: number, ms: number): Promise<string> {
    return this.#after(ms);
  }

  createComputePipelineAsync(ms: number): Promise<string> {
    return this.#after(ms);
  }

  async createRenderPipelineAsync(): Promise<void> {}
  async getCompilationInfo(): Promise<void> {}
  async onSubmittedWorkDone(): Promise<void> {}
  async popErrorScope(): Promise<void> {}
  async requestDevice(): Promise<void> {}

  #after(ms: number): Promise<string> {
    const end = performance.now() + ms;
    return new Promise((resolve, reject) => {
      const ask = () => {
        this.asked.push(performance.now());
        if (!this.isOver && performance.now() < end) setImmediate(() => ask());
        else if (ms > 0) resolve("done");
        else reject(new Error("lost"));
      };
      setImmediate(() => ask());
    });
  }
}

const READ = 1;
const WRITE = 2;
const { setImmediate: original } = globalThis;

beforeAll(() => {
  const types = ["GPUAdapter", "GPUDevice", "GPUShaderModule", "GPUBuffer", "GPUQueue"];
  restWhileWaiting(Object.fromEntries(types.map((type) => [type, Binding])));
});
afterEach(() => {
  expect(globalThis.setImmediate).toBe(original);
});

const LONG_MS = 600_000;

/** How long the event loop's next turns are, in ms, ascending: the longer ones are so where a machine is busy. */
async function turnTimes(): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < 500; i++) {
    const start = performance.now();
    await new Promise((resolve) => setImmediate(resolve));
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b);
}

const shortestTurn = async () => (await turnTimes())[0];

test("turns of the event loop rest while the GPU is waited for, and only then", async () => {
  const binding = new Binding();
  const waiting = Promise.all([binding.mapAsync(READ, LONG_MS), binding.mapAsync(WRITE, LONG_MS)]);
  while (binding.asked.length < 100) await new Promise((resolve) => setImmediate(resolve));
  expect(await shortestTurn()).toBeGreaterThan(0.045);
  stayAwake(LONG_MS);
  expect(await shortestTurn()).toBeLessThan(0.045);
  stayAwake(0);
  expect(await shortestTurn()).toBeGreaterThan(0.045);
  binding.isOver = true;
  expect(await waiting).toEqual(["done", "done"]);

  await expect(binding.mapAsync(WRITE, 0)).rejects.toThrow("lost");
  expect(await shortestTurn()).toBeLessThan(0.045);
  binding.isOver = false;
  const compiling = binding.createComputePipelineAsync(LONG_MS);
  expect(await shortestTurn()).toBeLessThan(0.045);
  binding.isOver = true;
  expect(await compiling).toBe("done");
});

test("they rest longer while a result is far from when it should come, as those before", async () => {
  for (let step = 0; step < 4; step++) await new Binding().mapAsync(READ, 20);
  const binding = new Binding();
  const waiting = binding.mapAsync(READ, LONG_MS);
  while (binding.asked.length < 20) await new Promise((resolve) => setImmediate(resolve));
  // But for those at about that time.
  expect((await turnTimes())[250]).toBeGreaterThan(0.2);
  binding.isOver = true;
  await waiting;
  binding.isOver = false;
  for (let step = 0; step < 4; step++) await binding.mapAsync(READ, 20);
  // On a machine with other work to do the right moment may be missed.
  let shortest = Infinity;
  for (let step = 0; step < 50 && shortest > 0.2; step++) {
    const { asked } = binding;
    await binding.mapAsync(READ, 20);
    shortest = asked.at(-1)! - asked.at(-2)!;
  }
  expect(shortest).toBeLessThan(0.2);
});

test("awake, the binding asks seldom before a result can be there, and often when it should, as those before", async () => {
  const sizes = [16, 24];
  const most = sizes.map(() => 0);
  // On a machine with other work to do the right moment may be missed.
  for (let step = 0; step < 8 || (Math.min(...most) < 5 && step < 60); step++) {
    const size = step % sizes.length;
    const binding = new Binding();
    stayAwake(1000);
    const start = performance.now();
    await binding.mapAsync(READ, sizes[size]);
    if (step < 4) continue;
    const asked = binding.asked.map((at) => at - start);
    expect(asked.filter((at) => at < sizes[0] / 2).length).toBeLessThanOrEqual(2 * (sizes[0] / 2 / 0.1));
    const often = asked.filter((at, i) => at > 0.95 * sizes[size] && at - asked[i - 1] < 0.05);
    most[size] = Math.max(most[size], often.length);
  }
  expect(Math.min(...most)).toBeGreaterThanOrEqual(5);
});

test("what only the host computes is asked for as well while awake, if not often", async () => {
  const binding = new Binding();
  stayAwake(LONG_MS);
  expect(await binding.createComputePipelineAsync(20)).toBe("done");
  expect(binding.asked.length).toBeLessThanOrEqual(20 / 0.1 + 2);
  stayAwake(0);
});

test("Dawn's binding asks by the global setImmediate, and on no turns of its own", async () => {
  const { device } = await testDevice();
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  const staging = device.createBuffer({ size: 16, usage });
  let calls = 0;
  const counting = (...args: Parameters<typeof original>) => {
    calls++;
    return original(...args);
  };
  globalThis.setImmediate = Object.assign(counting, original);
  try {
    for (let i = 0; i < 3; i++) {
      await staging.mapAsync(READ);
      staging.unmap();
      await device.queue.onSubmittedWorkDone();
      device.pushErrorScope("validation");
      await device.popErrorScope();
    }
    expect(calls).toBe(0);
  } finally {
    globalThis.setImmediate = original;
    staging.destroy();
  }
});
