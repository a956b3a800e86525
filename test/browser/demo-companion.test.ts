import type { ChildProcess } from "node:child_process";
import { mkdir } from "node:fs/promises";
import type { Browser, Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { seriousProblems, serveDemo } from "../support/demo-page.ts";
import { type Served, startServe } from "../support/served.ts";
import { type ShapingProxy, shapingProxy } from "../support/shaping-proxy.ts";

/*
 * The built page and `sluice serve`, with a way between them that can be broken. One visit goes through all tests.
 */

const KEY = "a-key-of-its-own";

let demo: ChildProcess | undefined;
let served: Served | undefined;
let proxy: ShapingProxy;
let browser: Browser;
let page: Page;
/** Addresses that the page has asked, and what it has said to its console. */
const asked: string[] = [];

beforeAll(async () => {
  await mkdir("test/output", { recursive: true });
  let address: string;
  [{ server: demo, address }, served, browser] = await Promise.all([
    serveDemo(),
    startServe(["demo/public/models/sprout", "--api-key", KEY, "--max-model-len", "512"]),
    launchBrowser(),
  ]);
  proxy = await shapingProxy(served.url);
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.on("request", (request) => asked.push(request.url()));
  page.on("websocket", (socket) => asked.push(socket.url()));
  page.on("console", (message) => asked.push(message.text()));
  await page.goto(address);
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Temperature", { exact: true }).fill("0");
  await page.getByLabel("Longest reply", { exact: true }).fill("64");
  await page.getByRole("button", { name: "Engine and speed" }).click();
  await page.getByRole("button", { name: "Sprout, ready" }).waitFor();
});

afterAll(async () => {
  await browser?.close();
  await proxy?.close();
  demo?.kill();
  await served?.stop();
});

describe("a companion of the demo", () => {
  it("tells what is wrong with an address or a key, and leaves the model as it is", async () => {
    await page.getByRole("button", { name: "Connect one" }).click();
    await connect("ftp://nowhere", KEY);
    await page.getByRole("alert").getByText("no address of a companion").waitFor();
    await connect(proxy.url, "wrong");
    await page.getByRole("alert").getByText("The API key is wrong").waitFor();
    expect(await seriousProblems(page)).toEqual([]);
    expect(await page.getByRole("button", { name: "Sprout, ready. Choose" }).count()).toBe(1);
  });

  it("writes the replies, and keeps its key for itself", async () => {
    await page.getByLabel("Way").selectOption("requests");
    await connect(proxy.url, KEY);
    await page.getByRole("button", { name: "Sprout, ready, companion: connected" }).waitFor();
    expect(await fact("#companion-way")).toBe("Whole replies");
    expect(Number.parseFloat(await fact("#link-latency"))).toBeGreaterThan(0);
    await page.getByText("what you write is sent there").waitFor();
    const before = await tokensWritten();
    await ask("What is the capital of Italy?");
    await ended();
    expect(await lastReply()).toContain("Rome");
    expect(await tokensWritten()).toBeGreaterThan(before);
    expect(asked.filter((text) => text.includes(KEY))).toEqual([]);
    expect(await page.evaluate(() => JSON.stringify(localStorage))).not.toContain(KEY);
    expect(await seriousProblems(page)).toEqual([]);
    await page.screenshot({ path: "test/output/demo-companion.png", animations: "disabled" });
  });

  it("is linked again when the link breaks in the midst of a reply", async () => {
    // Some twenty tokens a second, however fast the server is.
    proxy.reshape({ bitsPerSecond: 40_000 });
    await ask("Tell me a short story about a fox.");
    await firstWords();
    proxy.kill();
    await ended();
    await page.locator(".companion").getByText("Made again").waitFor();
    expect(await page.locator(".notice").allTextContents()).toEqual([]);
  });

  it("is done without once it is gone, in the midst of a reply", async () => {
    await ask("Tell me a short story about a cat.");
    await firstWords();
    const begun = await lastReply();
    await proxy.close();
    await page.locator("#link-state").getByText("goes on here").waitFor();
    await ended();
    expect(await page.locator(".notice").allTextContents()).toEqual([]);
    expect((await lastReply()).startsWith(begun)).toBe(true);
    expect((await lastReply()).length).toBeGreaterThan(begun.length);
  });

  it("computes experts, shows the speed of both parts, and is let go", async () => {
    proxy = await shapingProxy(served!.url);
    await page.getByRole("button", { name: "Change" }).click();
    await page.getByRole("button", { name: "Disconnect" }).click();
    // The model is being loaded without it.
    await page.getByRole("button", { name: "Choose a model" }).click();
    await page.getByLabel("Way").selectOption("experts");
    await connect(proxy.url, KEY);
    await page.getByRole("button", { name: "Sprout, ready, companion: connected" }).waitFor();
    await page.getByText("All experts", { exact: true }).waitFor();
    proxy.reshape({ delayMs: 20 });
    await ask("Tell me a short story about a dog.");
    await firstWords();
    const there = page.locator(".companion dl > div", { hasText: "The part there" });
    await there.getByText(/\d tok/).waitFor();
    await proxy.close();
    await page.getByText("The link to the companion broke").waitFor();
    await page.getByRole("button", { name: "Go on without it" }).click();
    await page.getByRole("button", { name: "Sprout, ready. Choose" }).waitFor();
  });

  it("is enough where there is no WebGPU", async () => {
    const address = page.url();
    await page.close();
    page = await browser.newPage({ viewport: { width: 390, height: 800 } });
    await page.addInitScript(() => Object.defineProperty(navigator, "gpu", { value: undefined }));
    await page.goto(address);
    await page.getByRole("button", { name: "Connect a companion" }).click();
    await connect(served!.url, KEY);
    await page.getByRole("button", { name: "Sprout, ready, companion: connected" }).waitFor();
    await ask("What is the capital of Italy?");
    await ended();
    expect(await lastReply()).toContain("Rome");
  });
});

async function connect(url: string, key: string): Promise<void> {
  await page.getByLabel("Address", { exact: true }).fill(url);
  await page.getByLabel("Key", { exact: true }).fill(key);
  await page.getByLabel("Key", { exact: true }).press("Enter");
}

async function ask(text: string): Promise<void> {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByLabel("Message", { exact: true }).press("Enter");
}

const firstWords = () => page.locator("article.assistant[aria-busy] .markdown p").first().waitFor();

const ended = () => page.getByRole("button", { name: "Stop" }).waitFor({ state: "detached" });

const lastReply = async () => (await page.locator("article.assistant .markdown").last().textContent())!.trim();

const fact = async (selector: string) => (await page.locator(selector).textContent())!;

/** Tokens that the server has counted as written. */
async function tokensWritten(): Promise<number> {
  const metrics = await fetch(`${served!.url}/metrics`, { headers: { authorization: `Bearer ${KEY}` } });
  const lines = (await metrics.text()).split("\n").filter((line) => line.startsWith("vllm:generation_tokens_total"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}
