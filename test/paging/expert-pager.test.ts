import { describe, expect, test } from "vitest";
import { PagedLayers, type Shape } from "./paged-layers.ts";

const base = { layers: 4, experts: 24, topK: 4, hidden: 64, inner: 32, format: "q4" } as const;

const SHAPES: readonly (Shape & { name: string; rows: readonly number[]; unit: string })[] = [
  { ...base, name: "one token", maxRows: 1, kind: "decode", rows: [1], unit: "rows" },
  { ...base, name: "four sequences", maxRows: 4, kind: "decode", rows: [4, 2], unit: "rows" },
  { ...base, name: "a short prompt, token by token", maxRows: 10, kind: "prefill", rows: [10, 7], unit: "rows" },
  { ...base, name: "a prompt, expert by expert", maxRows: 64, kind: "prefill", rows: [64, 50], unit: "pairs" },
  { ...base, name: "a prompt in bf16", format: "bf16", maxRows: 40, kind: "prefill", rows: [33], unit: "pairs" },
];

describe.each(SHAPES)("$name", (shape) => {
  test("gives the bits of the resident run, however few slots there are", async () => {
    const layers = await PagedLayers.open(shape);
    const resident = await layers.resident();
    const expected: Float32Array[] = [];
    const inputs = Array.from({ length: 6 }, (_, i) => ({
      rows: shape.rows[i % shape.rows.length],
      seed: 7 + (i % 4),
    }));
    for (const { rows, seed } of inputs) expected.push(await resident(rows, seed));
    expect(expected[0].every(Number.isFinite)).toBe(true);
    for (const slots of [24, 12, 6, 4]) {
      const { run, pager, arena, stops } = await layers.paged(slots);
      expect(stops.map(({ unit }) => unit)).toEqual(Array(shape.layers).fill(shape.unit));
      for (const [i, { rows, seed }] of inputs.entries()) {
        const bits = new Uint32Array((await run(rows, seed)).buffer);
        expect(bits, `${slots} slots, input ${i}`).toEqual(new Uint32Array(expected[i].buffer));
      }
      const { hits, misses, bytes, waitMs } = pager.stats.layers[2];
      expect(misses).toBeGreaterThan(0);
      expect(bytes).toBeGreaterThanOrEqual(misses * arena.bytesIn(2) * 0.99);
      expect(waitMs).toBeGreaterThan(0);
      if (slots === 24) expect(hits).toBeGreaterThan(0);
      pager.dispose();
    }
    layers.device.dispose();
  });
});

test("a prompt loads each expert once, though it needs more than there are slots", async () => {
  const layers = await PagedLayers.open({ ...base, maxRows: 64, kind: "prefill" });
  const { run, pager } = await layers.paged(6);
  await run(64, 3);
  for (const { gateUp, down } of layers.sources) {
    expect(gateUp.reads).toBe(24);
    expect(down.reads).toBe(24);
  }
  pager.dispose();
  layers.device.dispose();
});

test("what is all there is submitted as one, and read back once", async () => {
  const layers = await PagedLayers.open({ ...base, maxRows: 1, kind: "decode" });
  const { run, pager } = await layers.paged(24);
  for (let i = 0; i < 6; i++) await run(1, 3);
  const submits = countSubmits(layers);
  await run(1, 3);
  expect(submits()).toBe(1);
  for (const { hits, misses } of pager.stats.layers) expect(hits + misses).toBe(7 * 4);
  pager.dispose();
  layers.device.dispose();
});

test("experts go to the device with what needs them: a submit a layer, and one where there are more than a slab holds", async () => {
  const layers = await PagedLayers.open({ ...base, maxRows: 1, kind: "decode" });
  const { run, pager } = await layers.paged(4);
  for (let i = 0; i < 4; i++) await run(1, i);
  const submits = countSubmits(layers);
  const misses = () => pager.stats.layers.reduce((sum, layer) => sum + layer.misses, 0);
  const before = misses();
  await run(1, 4);
  expect(misses() - before).toBeGreaterThan(base.layers);
  expect(submits()).toBeLessThanOrEqual(2 * base.layers + 1);
  pager.dispose();
  layers.device.dispose();
});

test("a read that fails is one error, and the next step works", async () => {
  const layers = await PagedLayers.open({ ...base, maxRows: 1, kind: "decode" });
  const resident = await layers.resident();
  const { run, pager } = await layers.paged(6);
  await run(1, 3);
  layers.sources[2].down.failing = true;
  await expect(run(1, 4)).rejects.toThrow("layer 2 down cannot be read");
  layers.sources[2].down.failing = false;
  expect(await run(1, 4)).toEqual(await resident(1, 4));
  expect(await run(1, 3)).toEqual(await resident(1, 3));
  pager.dispose();
  layers.device.dispose();
});

/** How often something has been submitted since. */
function countSubmits({ device: { queue } }: PagedLayers): () => number {
  let count = 0;
  const submit = queue.submit.bind(queue);
  queue.submit = (buffers) => {
    count++;
    submit(buffers);
  };
  return () => count;
}
