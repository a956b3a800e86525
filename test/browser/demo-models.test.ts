import type { ChildProcess } from "node:child_process";
import { mkdir } from "node:fs/promises";
import type { Browser, BrowserContext, Page, Route } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { seriousProblems, serveDemo } from "../support/demo-page.ts";
import type { MemoryPack } from "../support/memory-pack.ts";
import { packModel } from "../support/pack-model.ts";
import { fixtureFolder } from "../support/reference-model.ts";

/*
 * The demo's models: one packed and served from another origin, and Sprout within a memory budget. What a server would
 * answer is given by the test, so that it can be taken away.
 */

const ORIGIN = "https://models.example";

let server: ChildProcess;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let pack: MemoryPack;
/** Files and ranges that were asked of the other origin. */
const asked: string[] = [];
let answer: (route: Route, name: string) => Promise<void>;

beforeAll(async () => {
  await mkdir("test/output", { recursive: true });
  let address: string;
  [{ server, address }, browser, { target: pack }] = await Promise.all([
    serveDemo(),
    launchBrowser(),
    packModel(fixtureFolder("qwen3-next-tiny"), { quantization: "q4" }),
  ]);
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
  answer = serve;
  await context.route(`${ORIGIN}/**`, (route) => {
    const name = new URL(route.request().url()).pathname.split("/").at(-1)!;
    asked.push(`${name} ${route.request().headers().range}`);
    return answer(route, name);
  });
  page = await context.newPage();
  await page.goto(address);
  await ready("Sprout");
});

afterAll(async () => {
  await browser?.close();
  server?.kill();
});

describe("models of the demo", () => {
  it("says what is wrong with an address", async () => {
    await openPicker();
    await openAddress("http://models.example/tiny");
    await page.getByRole("alert").getByText("over https").waitFor();
    await openAddress("nothing");
    await page.getByRole("alert").getByText("owner/name").waitFor();
  });

  it("shows what a model takes before its weights are fetched", async () => {
    await openAddress(`${ORIGIN}/tiny`);
    await page.getByRole("heading", { name: "tiny" }).waitFor();
    const load = page.getByRole("button", { name: /^Download [\d.]+ MB and load$/ });
    await load.waitFor();
    await page.getByText("qwen3_next, ", { exact: false }).waitFor();
    expect(asked.join()).toContain("sluice.json");
    // Two bytes, for the size.
    expect(asked.filter((line) => line.includes(".bin"))).toEqual(["weights-00000.bin bytes=0-1"]);
    expect(await seriousProblems(page)).toEqual([]);
    await page.screenshot({ path: "test/output/demo-proposal.png", animations: "disabled" });
  });

  it("lists what a failed download left, and resumes it", async () => {
    // Refused only once something was entered as stored.
    const before = await storedBytes();
    answer = async (route, name) => {
      if (!name.endsWith(".bin") || route.request().headers().range === "bytes=0-1") return serve(route, name);
      await expect.poll(storedBytes).toBeGreaterThan(before);
      await route.fulfill({ status: 403, headers: CORS });
    };
    await page.getByRole("button", { name: /and load$/ }).click();
    await page.getByText("These files cannot be read").waitFor();
    answer = serve;
    await openPicker();
    await page.getByRole("button", { name: "Resume tiny" }).click();
    await page.getByRole("button", { name: "Export tiny" }).waitFor();
    expect(await page.getByRole("button", { name: "Resume tiny" }).count()).toBe(0);
  });

  it("exports a stored model as an archive", async () => {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Export tiny" }).click(),
    ]);
    expect(download.suggestedFilename()).toBe("tiny.tar");
  });

  it("finds it again after a reload, without the network", async () => {
    answer = (route) => route.abort("internetdisconnected");
    await page.reload();
    await openPicker();
    await page.getByRole("button", { name: "Load tiny" }).click();
    await ready("tiny");
    await openPicker();
    expect(await page.getByRole("button", { name: "tiny is loaded" }).isDisabled()).toBe(true);
    expect(await seriousProblems(page)).toEqual([]);
    await page.screenshot({ path: "test/output/demo-stored.png", animations: "disabled" });
  });

  it("deletes it when that is confirmed", async () => {
    await page.getByRole("button", { name: "Delete tiny" }).click();
    await page.getByRole("button", { name: "Keep", exact: true }).click();
    await expect
      .poll(() => page.evaluate(() => document.activeElement?.getAttribute("aria-label")))
      .toBe("Delete tiny");
    await page.getByRole("button", { name: "Delete tiny" }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByText("tiny was deleted").waitFor();
    await page.reload();
    await openPicker();
    await page.getByRole("button", { name: "Delete Sprout" }).waitFor();
    expect(await page.getByRole("button", { name: "Delete tiny" }).count()).toBe(0);
  });

  it("measures the stores, and says which is fastest", async () => {
    await page.getByRole("button", { name: "Measure" }).click();
    await page.locator(".probes .chosen").waitFor();
    expect(await page.locator(".probes tbody tr").count()).toBeGreaterThan(1);
  });

  it("plans anew when the memory budget changes", async () => {
    const budget = page.locator(".budget output");
    await budget.waitFor();
    const before = Number.parseFloat((await budget.textContent())!);
    await page.getByLabel("Memory budget").fill("6");
    await page.locator(".plan:not([aria-busy])").getByText("Expected hits").waitFor();
    expect(Number.parseFloat((await budget.textContent())!)).toBeLessThan(before);
    expect(await budget.textContent()).toContain("6 of 24 experts a layer");
    expect(await seriousProblems(page)).toEqual([]);
    await page.getByRole("button", { name: "Load Sprout again" }).click();
    await ready("Sprout");
  });

  it("shows what the cache of experts does", async () => {
    await page.getByRole("button", { name: "Engine and speed" }).click();
    await page.getByLabel("Message", { exact: true }).fill("What is the capital of Italy?");
    await page.getByLabel("Message", { exact: true }).press("Enter");
    await page.locator("#cached-tokens").waitFor();
    await page.getByRole("button", { name: "Stop" }).waitFor({ state: "detached" });
    await expect.poll(hitRate).toBeGreaterThan(0);
    expect(await strongCells()).toBeGreaterThan(8);
    expect(await seriousProblems(page)).toEqual([]);
    await page.screenshot({ path: "test/output/demo-experts.png", animations: "disabled" });
  });

  it("opens a packed model that is dropped on the page", async () => {
    await drop([...pack.files]);
    await ready("Local model");
  });
});

const hitRate = async () => Number.parseFloat((await page.locator("#expert-hits").textContent())!);

/** Pixels of the picture that stand for an expert used just now. */
const strongCells = () =>
  page.locator(".experts canvas").evaluate((canvas) => {
    const { width, height } = canvas as HTMLCanvasElement;
    const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
    return data.filter((value, i) => i % 4 === 3 && value > 200).length;
  });

/** Bytes of all models that the page's index counts as stored. */
const storedBytes = () =>
  page.evaluate(async () => {
    const done = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    const database = await done(indexedDB.open("sluice"));
    const entries = await done(database.transaction("index").objectStore("index").getAll());
    database.close();
    return entries.reduce((sum, { storedBytes = 0 }) => sum + storedBytes, 0) as number;
  });

async function openPicker(): Promise<void> {
  await page.getByRole("button", { name: "Choose a model" }).click();
}

async function openAddress(address: string): Promise<void> {
  await page.getByLabel("Model's address").fill(address);
  await page.getByLabel("Model's address").press("Enter");
}

async function ready(label: string): Promise<void> {
  await page.getByRole("button", { name: `${label}, ready` }).waitFor();
}

async function drop(files: readonly (readonly [string, Uint8Array])[]): Promise<void> {
  const sent = files.map(([name, bytes]) => [name, Buffer.from(bytes).toString("base64")] as const);
  await page.evaluate((files) => {
    const dataTransfer = new DataTransfer();
    for (const [name, base64] of files) {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      dataTransfer.items.add(new File([bytes], name));
    }
    dispatchEvent(new DragEvent("drop", { dataTransfer }));
  }, sent);
}

const CORS = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "content-range, content-length, etag",
};

/** A file of the pack, by ranges. */
async function serve(route: Route, name: string): Promise<void> {
  const file = pack.files.get(name);
  if (!file) return route.fulfill({ status: 404, headers: CORS });
  const [, from, to] = /bytes=(\d+)-(\d+)/.exec(route.request().headers().range ?? "") ?? [];
  if (from === undefined) return route.fulfill({ status: 200, headers: CORS, body: Buffer.from(file) });
  const end = Math.min(Number(to) + 1, file.length);
  const headers = { ...CORS, "content-range": `bytes ${from}-${end - 1}/${file.length}`, etag: `"${file.length}"` };
  await route.fulfill({ status: 206, headers, body: Buffer.from(file.slice(Number(from), end)) });
}
