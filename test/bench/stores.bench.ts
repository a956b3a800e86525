import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import type { StoreProbe } from "../../src/api/types.ts";
import { launchWithProfile } from "../support/browser.ts";
import type { StoreTests } from "../support/store-page.ts";
import { serveStorePage } from "../support/store-page-server.ts";

declare const tests: StoreTests;

const MILLISECONDS = 600;

const print = ({ kind, form, readers, recordBytes, writeBytesPerSecond, readBytesPerSecond }: StoreProbe) => {
  const [write, read] = [writeBytesPerSecond, readBytesPerSecond].map((rate) => (rate / 1e6).toFixed(0).padStart(6));
  console.log(
    `${[kind, form, readers].filter(Boolean).join(" ").padEnd(24)} ${recordBytes / 2 ** 20} MiB  write ${write} MB/s  read ${read} MB/s`,
  );
};

/** Prints how fast each store of Chromium is with records of 1, 2 and 4 MiB. */
test("stores", async () => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-stores-"));
  const vite = await serveStorePage();
  const context = await launchWithProfile(folder);
  const page = await context.newPage();
  await page.goto(`${vite.resolvedUrls!.local[0]}store-page`);
  await page.waitForFunction("globalThis.tests");
  console.log(`Chromium ${context.browser()?.version() ?? ""}`);
  for (const mebibytes of [1, 2, 4]) {
    const probes = await page.evaluate(([bytes, ms]) => tests.probe(bytes, ms), [
      mebibytes * 2 ** 20,
      MILLISECONDS,
    ] as const);
    probes.forEach(print);
  }
  await context.close();
  await vite.close();
  await rm(folder, { recursive: true });
});
