import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright";

const require = createRequire(import.meta.url);

/** Serves the built demo as `npm start` does. */
export async function serveDemo(): Promise<{ server: ChildProcess; address: string }> {
  const server = spawn(process.execPath, ["dist/node/demo-server.js", "--no-open", "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: server.stdout! });
  const [line] = (await Promise.race([once(lines, "line"), once(server, "exit")])) as [string | number | null];
  const address = String(line).match(/http:\S+/)?.[0];
  if (!address) throw new Error("dist/node/demo-server.js does not start. Run `npm run build` first.");
  return { server, address };
}

/** Runs axe-core beside the page's content security policy, not under it. */
export async function seriousProblems(page: Page): Promise<string[]> {
  const session = await page.context().newCDPSession(page);
  await session.send("Runtime.evaluate", {
    expression: await readFile(require.resolve("axe-core/axe.min.js"), "utf8"),
  });
  const { result } = await session.send("Runtime.evaluate", {
    expression: "axe.run()",
    awaitPromise: true,
    returnByValue: true,
  });
  await session.detach();
  return (result.value as AxeResults).violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}
