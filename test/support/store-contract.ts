import type { Span, StoreIndex, WeightStore } from "../../src/stores/weight-store.ts";
import { random } from "./random.ts";

/**
 * What every store promises, tried out by a random series of writes, reads of whole records and of parts, flushes and removals,
 * against plain maps. Runs in a page as in Node. Fails with what was different.
 */
export async function checkStore(store: WeightStore, seed: number, steps = 60): Promise<void> {
  const next = random(seed);
  const whole = (limit: number) => Math.floor(next() * limit);
  const prefix = `contract-${seed}`;
  const expected = new Map<string, Map<number, Uint8Array>>();
  // Records of different lengths, side by side, as a manifest divides a file.
  const bounds = [0];
  while (bounds.length < 9) bounds.push(bounds.at(-1)! + 1 + whole(3) * 40_000 + whole(100));
  const span = (record: number): Span => ({ from: bounds[record], to: bounds[record + 1] });
  const check = async (file: string, record: number, part?: Span) => {
    const { from, to } = span(record);
    const bytes = expected.get(file)?.get(record);
    const wanted = bytes?.subarray((part?.from ?? from) - from, (part?.to ?? to) - from);
    const found = await store.read(`${prefix}-${file}`, { from, to }, part);
    // What was never written may be read as anything: the index says what is there.
    if (wanted && !(found && equal(found, wanted))) {
      throw new Error(`${store.kind}: record ${record} of ${file} is not what was written (${found?.length} bytes)`);
    }
  };
  for (let step = 0; step < steps; step++) {
    const file = "abc"[whole(3)];
    const record = whole(8);
    const { from, to } = span(record);
    switch (whole(6)) {
      case 0:
      case 1:
      case 2: {
        const bytes = Uint8Array.from({ length: to - from }, () => next() * 256);
        const written = bytes.slice();
        await store.write(`${prefix}-${file}`, { from, to }, bytes);
        // It is the writer's again.
        bytes.fill(0);
        expected.set(file, (expected.get(file) ?? new Map()).set(record, written));
        break;
      }
      case 3:
        await Promise.all([check(file, record), check(file, whole(8)), check("b", record)]);
        break;
      case 4: {
        const start = from + whole(to - from);
        await check(file, record, { from: start, to: start + 1 + whole(to - start) });
        break;
      }
      case 5:
        if (next() < 0.7) await store.flush(`${prefix}-${file}`);
        else {
          await store.remove(`${prefix}-${file}`);
          expected.delete(file);
          if (await store.read(`${prefix}-${file}`, { from, to }))
            throw new Error(`${store.kind}: ${file} was removed`);
        }
    }
  }
  for (const file of "abc") {
    for (let record = 0; record < 8; record++) await check(file, record);
    await store.remove(`${prefix}-${file}`);
  }
}

/** What an index promises: it holds what was put there, and edits at once do not undo each other. */
export async function checkIndex(index: StoreIndex): Promise<void> {
  const add = (list: number[] | undefined, n: number) => [...(list ?? []), n];
  await Promise.all(Array.from({ length: 20 }, (_, n) => index.update<number[]>("file/x", (list) => add(list, n))));
  await index.update("model/y", () => ({ label: "ü", hashes: [null, "a"] }));
  const list = (await index.get<number[]>("file/x"))!.sort((a, b) => a - b);
  const entries = (await index.entries()).map(([key]) => key).sort();
  const found = JSON.stringify([list, await index.get("model/y"), entries, await index.get("file/none")]);
  const numbers = Array.from({ length: 20 }, (_, n) => n);
  const wanted = JSON.stringify([numbers, { label: "ü", hashes: [null, "a"] }, ["file/x", "model/y"], undefined]);
  if (found !== wanted) throw new Error(`${found} instead of ${wanted}`);
  await index.update("file/x", () => undefined);
  await index.update("model/y", () => undefined);
  if ((await index.entries()).length > 0) throw new Error("what was removed is still there");
}

const equal = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);
