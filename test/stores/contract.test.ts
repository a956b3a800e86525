import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, it } from "vitest";
import { NodeStores } from "../../src/platform/node/stores.ts";
import { checkIndex, checkStore } from "../support/store-contract.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-stores-"));
});
afterAll(() => rm(folder, { recursive: true }));

// The same runs in a browser: test/browser/stores.test.ts.
describe.each(["files", "memory"] as const)("the store %s", (kind) => {
  it.each([1, 2, 3, 4])("gives back what was written, and nothing else (seed %i)", async (seed) => {
    const stores = new NodeStores(kind, folder);
    await checkStore(await stores.open(kind), seed);
    await stores.close();
  });

  it("keeps an index", async () => {
    await checkIndex(new NodeStores(kind, join(folder, "index-only")).index);
  });
});
