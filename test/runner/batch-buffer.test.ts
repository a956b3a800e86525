import { expect, test } from "vitest";
import type { SequenceStep } from "../../src/engine/runner.ts";
import { BatchBuffer, batchLayout } from "../../src/runner/batch-buffer.ts";
import { random } from "../support/random.ts";

const LIMITS = { maxTokens: 8, maxSequences: 4, maxBlocks: 4, blockTokens: 64 };
const LAYOUT = batchLayout(LIMITS);

/** What the device holds, and how many times it was written to. */
class Device {
  readonly words = new Uint32Array(LAYOUT.words).fill(99);
  writes = 0;

  readonly queue = {
    writeBuffer: (_: GPUBuffer, offset: number, data: Uint32Array, from: number, size: number) => {
      this.words.set(data.subarray(from, from + size), offset / 4);
      this.writes++;
    },
  } as unknown as GPUQueue;

  /** As shaders/sampling/advance.wgsl does: the batch becomes one row for each sequence that drew. */
  advance(): void {
    const { words } = this;
    const count = words[2];
    const last = Array.from({ length: count }, (_, s) => words[LAYOUT.positions + words[LAYOUT.starts + s + 1] - 1]);
    for (let s = 0; s < count; s++) {
      words[LAYOUT.tokens + s] = 1000 + s;
      words[LAYOUT.positions + s] = last[s] % 5 === 4 ? 0xffffffff : last[s] + 1;
      words[LAYOUT.sequences + s] = s;
      words[LAYOUT.starts + s + 1] = s + 1;
    }
    words[LAYOUT.starts] = 0;
    words[0] = count;
    words[1] = count;
  }
}

test("what is not written again is there: 2,000 steps of a stage that reads, draws or passes on", () => {
  const next = random(5);
  const below = (count: number) => Math.floor(next() * count);
  const device = new Device();
  const batch = new BatchBuffer(LIMITS, {} as GPUBuffer);
  let steps: SequenceStep[] = [];
  for (let i = 0; i < 2000; i++) {
    const goesOn = steps.length > 0 && below(4) > 0;
    steps = goesOn
      ? steps.map((step) => ({ ...step, tokens: [below(3)], position: step.position + step.tokens.length }))
      : Array.from({ length: 1 + below(4) }, (_, s) => ({
          tokens: Array.from({ length: 1 + below(2) }, () => below(3)),
          position: below(50),
          slot: (s + below(2)) % 5,
          blocks: [below(9)],
        }));
    const draws = [0, steps.length, below(steps.length + 1)][below(3)];
    batch.write(device.queue, steps, draws);
    const whole = new Device();
    new BatchBuffer(LIMITS, {} as GPUBuffer).write(whole.queue, steps, draws);
    const rows = steps.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const parts = [
      [0, 3],
      [LAYOUT.tokens, LAYOUT.tokens + rows],
      [LAYOUT.positions, LAYOUT.positions + rows],
      [LAYOUT.sequences, LAYOUT.sequences + rows],
      [LAYOUT.starts, LAYOUT.starts + steps.length + 1],
      [LAYOUT.slots, LAYOUT.slots + steps.length],
    ];
    for (const [from, to] of parts) expect(device.words.slice(from, to), `${i}`).toEqual(whole.words.slice(from, to));
    if (draws > 0) device.advance();
    if (below(2) === 0) batch.foresee(device.queue);
  }
});

test("a step that was foreseen is written before it is there", () => {
  const device = new Device();
  const batch = new BatchBuffer(LIMITS, {} as GPUBuffer);
  const step = (position: number) => [{ tokens: [0], position, slot: 2, blocks: [1] }];
  batch.write(device.queue, step(7), 1);
  device.advance();
  batch.foresee(device.queue);
  device.writes = 0;
  batch.write(device.queue, step(8), 1);
  expect(device.writes).toBe(0);
  expect(device.words[LAYOUT.positions]).toBe(8);
});
