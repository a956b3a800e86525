// Runs every test: `npm test` builds and lints first, then comes here.
//
//   SLUICE_TEST_ADAPTERS   comma-separated parts of adapter names. The first runs everything, each other one the kernels
//                          and models only. Default: the best adapter, and SwiftShader after lavapipe, because they differ
//                          in what they offer (f16, subgroup size, limits).
//   SLUICE_TEST_BROWSER    "installed" or "packaged" leaves only that Chromium.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
process.chdir(fileURLToPath(new URL("..", import.meta.url)));

const { listAdapters } = (await runnerImport("./src/platform/node/gpu.ts", { configFile: false })).module;
const found = await listAdapters();
console.log(`Adapters of this machine: ${found.join(", ") || "none; SwiftShader comes from @sparticuz/chromium"}`);

const adapters = process.env.SLUICE_TEST_ADAPTERS?.split(",") ?? defaultAdapters(found[0] ?? "SwiftShader");
const [first, ...others] = adapters;
/** So that the last hundred lines of the output tell all. */
const MOST_TOLD = 5;
const onEveryAdapter = ["test/gpu", "test/kernels", "test/models", "test/ops"];

const phases = [
  {
    name: `everything but the browser, on ${first}`,
    adapter: first,
    args: ["--exclude", "test/browser/**"],
    minutes: 45,
  },
  ...others.map((adapter) => ({
    name: `kernels and models, on ${adapter}`,
    adapter,
    args: onEveryAdapter,
    minutes: 45,
  })),
  { name: "the browser", adapter: first, args: ["test/browser"], minutes: 45 },
];

const folder = mkdtempSync(join(tmpdir(), "sluice-test-run-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

const results = [];
for (const [i, phase] of phases.entries()) {
  const file = join(folder, `${i}.jsonl`);
  results.push({ phase, ...(await run(phase, file)), ...failures(file) });
}

// Last of all, so that the end of the output tells what failed.
for (const { phase, failed, running } of results) {
  if (failed.length + running.length > 0) console.log(`\nFailed: ${phase.name}`);
  for (const { ended, errors } of failed.slice(0, MOST_TOLD)) {
    console.log(`  ${ended}`);
    for (const line of errors[0].split("\n")) console.log(`    ${line.slice(0, 200)}`);
  }
  if (failed.length > MOST_TOLD) console.log(`  … and ${failed.length - MOST_TOLD} more`);
  for (const name of running) console.log(`  ${name}\n    had not ended`);
}
console.log("\nSummary");
for (const { phase, outcome, seconds } of results) console.log(`  ${outcome.padEnd(9)} ${phase.name} (${seconds} s)`);
process.exitCode = results.every(({ outcome }) => outcome === "passed") ? 0 : 1;

function defaultAdapters(best) {
  return /llvmpipe/i.test(best) && process.arch === "x64" ? [best, "SwiftShader"] : [best];
}

/** What `FailuresReporter` has written: what failed, and what was under way when the run ended. */
function failures(file) {
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  const told = lines.map((line) => JSON.parse(line));
  const running = new Set();
  for (const { began, ended } of told) {
    if (began) running.add(began);
    else running.delete(ended);
  }
  return { failed: told.filter(({ errors = [] }) => errors.length > 0), running: [...running] };
}

/** Runs vitest in a process group of its own, so that nothing it has started outlives its time. */
async function run({ name, adapter, args, minutes }, failuresFile) {
  console.log(`\n— ${name}`);
  const start = performance.now();
  const reporters = ["--reporter=default", "--reporter=./test/support/failures-reporter.ts"];
  const child = spawn(process.execPath, ["node_modules/vitest/vitest.mjs", "run", ...reporters, ...args], {
    env: { ...process.env, SLUICE_TEST_ADAPTER: adapter, SLUICE_TEST_FAILURES: failuresFile },
    stdio: ["ignore", "inherit", "pipe"],
    detached: true,
  });
  createInterface({ input: child.stderr }).on("line", (line) => {
    // Dawn says this of every software adapter whenever it looks at one.
    if (!/^Warning: maxDynamic\w+ artificially reduced/.test(line)) console.error(line);
  });
  const stop = () => (process.platform === "win32" ? child.kill() : process.kill(-child.pid, "SIGKILL"));
  process.once("exit", stop);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
    // A browser that is still closing may hold it open.
    child.stderr.destroy();
  }, minutes * 60_000);
  const code = await new Promise((resolve) => child.once("close", resolve));
  clearTimeout(timer);
  process.off("exit", stop);
  const seconds = Math.round((performance.now() - start) / 1000);
  return { outcome: timedOut ? "timed out" : code === 0 ? "passed" : "failed", seconds };
}
