import type { ChildProcess } from "node:child_process";
import { mkdir } from "node:fs/promises";
import type { Browser, BrowserContext, Page } from "playwright";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { seriousProblems, serveDemo } from "../support/demo-page.ts";

/*
 * The built page in a real browser, with the model that it ships. One conversation goes through all tests, as a visitor
 * would have it. A software adapter takes tens of milliseconds a token, so every wait is long.
 */

let server: ChildProcess | undefined;
let address: string;
let browser: Browser;
let context: BrowserContext;
let page: Page;
const complaints: string[] = [];

beforeAll(async () => {
  await mkdir("test/output", { recursive: true });
  [{ server, address }, browser] = await Promise.all([serveDemo(), launchBrowser()]);
  context = await newContext();
  page = await open(context);
});

afterAll(async () => {
  await browser?.close();
  server?.kill();
});

afterEach(() => expect(complaints.splice(0)).toEqual([]));

describe("the demo", () => {
  it("opens with the embedded model and answers a first question", async () => {
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Temperature", { exact: true }).fill("0");
    await page.getByLabel("System prompt").fill("You are a helpful assistant.");
    await page.keyboard.press("Escape");
    await ask("What is the capital of Italy?");
    expect(await lastReply().textContent()).toContain("Rome");
    expect(await page.title()).toBe("Sluice");
  });

  it("stops a reply, and keeps what has come of it", async () => {
    await setLongestReply("400");
    await type("Tell me a short story about a fox.");
    await lastReply().locator(".markdown p").first().waitFor();
    await page.keyboard.press("Escape");
    await lastReply().getByText("Stopped.").waitFor();
    expect(await lastReply().locator(".markdown").textContent()).not.toBe("");
    await setLongestReply("16");
  });

  it("goes on from the state of earlier turns", async () => {
    await ask("What is 12 + 7?");
    await page.getByRole("button", { name: "Engine and speed" }).click();
    expect(Number.parseInt((await page.locator("#cached-tokens").textContent()) ?? "", 10)).toBeGreaterThan(0);
    await page.screenshot({ path: "test/output/demo-engine.png" });
    await page.getByRole("button", { name: "Engine and speed" }).click();
  });

  it("writes a reply again in its place", async () => {
    const before = await page.getByRole("article").count();
    await page.getByRole("button", { name: "Write this reply again" }).last().click();
    await ended();
    expect(await page.getByRole("article").count()).toBe(before);
  });

  it("edits the last question with the arrow key and answers the new one", async () => {
    const before = await page.getByRole("article").count();
    await page.getByLabel("Message", { exact: true }).press("ArrowUp");
    const editor = page.getByRole("textbox", { name: "Edit message" });
    await editor.fill("What is the capital of France?");
    await editor.press("Enter");
    await ended();
    expect(await page.getByRole("article").count()).toBe(before);
    expect(await page.locator(".question").last().textContent()).toBe("What is the capital of France?");
    expect(await lastReply().textContent()).toContain("Paris");
  });

  it("lets the model call a tool that the page has, and go on from its result", async () => {
    // A chat of its own: where a reply above was stopped is never the same, and whether Sprout calls may hang on that.
    await page.keyboard.press("Control+k");
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Calculator").check();
    await page.getByLabel("Longest reply", { exact: true }).fill("64");
    await page.keyboard.press("Escape");
    await ask("What is 37 * 46?");
    expect(await lastReply().locator(".call summary").textContent()).toBe('calculate(expression: "37 * 46")1702');
    expect(await lastReply().locator(".markdown").textContent()).toContain("1702");
    await lastReply().locator(".call summary").click();
    expect(await lastReply().locator(".call pre").allTextContents()).toEqual([
      '{\n  "expression": "37 * 46"\n}',
      '{\n  "result": 1702\n}',
    ]);
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Calculator").uncheck();
    await page.getByLabel("Longest reply", { exact: true }).fill("16");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "What is the capital of Italy?" }).first().click();
  });

  it("keeps the conversation and the draft across a reload", async () => {
    await page.getByLabel("Message", { exact: true }).fill("A thought not yet");
    const before = await transcript(page);
    await page.reload();
    await page.getByRole("button", { name: "What is the capital of Italy?" }).first().click();
    expect(await transcript(page)).toEqual(before);
    expect(await page.getByLabel("Message", { exact: true }).inputValue()).toBe("A thought not yet");
    await page.getByLabel("Message", { exact: true }).fill("");
    await ready(page);
  });

  it("shows in one tab what another writes, and loses nothing of either", async () => {
    const other = await open(context);
    await other.getByRole("button", { name: "What is the capital of Italy?" }).first().click();
    const [mine, theirs] = ["What is 2 + 2?", "What is 3 + 3?"];
    await Promise.all([ask(mine), ask(theirs, other)]);
    for (const tab of [page, other]) {
      await expect.poll(() => tab.locator(".question").allTextContents()).toContain(mine);
      await expect.poll(() => tab.locator(".question").allTextContents()).toContain(theirs);
      await expect.poll(() => tab.locator("[aria-busy]").count()).toBe(0);
    }
    await expect.poll(() => transcript(other)).toEqual(await transcript(page));
    await other.close();
  });

  it("shows a reply's markup without running or fetching any of it", async () => {
    await plant(
      page,
      [
        "# Heading\n\n**bold** [a link](https://example.com) [no](javascript:alert(1))",
        "![picture](https://example.com/x.png) <img src=x onerror=alert(1)> <script>alert(1)</script>",
        "```js\nlet x = 1;\n```\n\n| a | b |\n| - | -: |\n| 1 | 2 |",
      ].join("\n\n"),
    );
    await page.reload();
    await page.getByRole("button", { name: "Planted" }).click();
    const reply = page.locator(".markdown");
    await reply.locator(".hljs-keyword").waitFor();
    expect(await reply.locator("img, script, [onerror], [href^=javascript]").count()).toBe(0);
    expect(await reply.getByRole("link", { name: "a link" }).getAttribute("rel")).toBe("noopener noreferrer");
    expect(await reply.getByRole("link", { name: "a link" }).getAttribute("target")).toBe("_blank");
    expect(await reply.getByRole("link", { name: "picture" }).count()).toBe(1);
    expect(await reply.locator("td[align=right]").textContent()).toBe("2");
  });

  it("folds thoughts away, and shows them to who asks", async () => {
    const thoughts = page.locator(".thoughts");
    expect(await thoughts.locator(".markdown").isVisible()).toBe(false);
    await thoughts.getByText("Thought for 7 s").click();
    expect(await thoughts.locator("strong").textContent()).toBe("show");
  });

  it("renames a conversation, deletes it, and takes that back", async () => {
    await page.getByRole("button", { name: "This conversation" }).click();
    await page.getByRole("button", { name: "Rename" }).click();
    await page.getByLabel("Conversation's title").fill("Kept");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Kept" }).waitFor();
    await page.getByRole("button", { name: "This conversation" }).click();
    await page.getByRole("button", { name: "Delete" }).click();
    expect(await page.getByRole("navigation").getByRole("button", { name: "Kept" }).count()).toBe(0);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("heading", { name: "Kept" }).waitFor();
  });

  it("starts a new chat with Ctrl+K and the focus in the composer", async () => {
    await page.keyboard.press("Control+k");
    await page.getByText("Ask Sprout something small.").waitFor();
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("composer");
  });

  const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 360, height: 740 } };
  describe.each(["light", "dark"] as const)("in %s colours", (colorScheme) => {
    it.each(Object.entries(sizes))("is accessible on a %s", async (name, viewport) => {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize(viewport);
      const look = async (what: string) => {
        await page.screenshot({ path: `test/output/demo-${what}-${name}-${colorScheme}.png`, animations: "disabled" });
        expect(await seriousProblems(page), what).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth), what).toBeLessThanOrEqual(
          viewport.width,
        );
      };
      await page.keyboard.press("Control+k");
      await look("empty");
      if (name === "phone") await page.getByRole("button", { name: "Show conversations" }).click();
      await page.getByRole("button", { name: "Kept" }).click();
      await look("conversation");
      await page.getByRole("button", { name: "Settings" }).click();
      await look("settings");
      if (name === "phone") await page.keyboard.press("Escape");
      await page.getByRole("button", { name: "Choose a model" }).click();
      await page.getByLabel("Memory budget").waitFor();
      await look("picker");
      await page.keyboard.press("Escape");
      if (name === "desktop") await page.getByRole("button", { name: "Settings" }).click();
    });
  });

  it("says what to do where there is no WebGPU", async () => {
    const without = await newContext();
    await without.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined }));
    const page = await without.newPage();
    await page.goto(address);
    await page.getByRole("heading", { name: "Sluice needs WebGPU" }).waitFor();
    expect(await page.getByText("chrome://flags/#enable-unsafe-webgpu").isVisible()).toBe(true);
    expect(await seriousProblems(page)).toEqual([]);
    await page.screenshot({ path: "test/output/demo-no-webgpu.png" });
    await without.close();
  });
});

function newContext(): Promise<BrowserContext> {
  return browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
}

async function open(context: BrowserContext): Promise<Page> {
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(address);
  await ready(page);
  return page;
}

async function ready(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Sprout, ready" }).waitFor();
}

async function type(text: string, tab = page): Promise<void> {
  await tab.getByLabel("Message", { exact: true }).fill(text);
  await tab.getByLabel("Message", { exact: true }).press("Enter");
}

async function ask(text: string, tab = page): Promise<void> {
  await type(text, tab);
  await ended(tab);
}

/** Until the page may send again. */
async function ended(tab = page): Promise<void> {
  await tab.getByRole("button", { name: "Stop" }).waitFor({ state: "detached" });
}

const lastReply = () => page.locator("article.assistant").last();

const transcript = (page: Page) => page.locator(".question, .markdown").allTextContents();

async function setLongestReply(tokens: string): Promise<void> {
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByLabel("Longest reply", { exact: true }).fill(tokens);
  await page.keyboard.press("Escape");
}

/** Puts a conversation with one reply where the page keeps its own. */
async function plant(page: Page, text: string): Promise<void> {
  await page.evaluate(async (text) => {
    const opening = indexedDB.open("sluice-demo");
    await new Promise((resolve) => opening.addEventListener("success", resolve));
    const transaction = opening.result.transaction("conversations", "readwrite");
    const reply = {
      id: "r",
      role: "assistant",
      text,
      createdAt: 0,
      reply: { model: "Sprout", sampling: {}, ending: "stop", thoughts: { text: "I **show** all.", ms: 7200 } },
    };
    const conversation = { id: "c", title: "Planted", createdAt: 0, updatedAt: 0, systemPrompt: "", messages: [reply] };
    transaction.objectStore("conversations").put(conversation, "c");
    await new Promise((resolve) => transaction.addEventListener("complete", resolve));
    opening.result.close();
  }, text);
}
