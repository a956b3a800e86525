import { spawn } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { testAdapterName } from "./gpu.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const cli = `${root}/dist/node/cli.js`;

/** Builds the CLI unless it is newer than all that it is made of. */
export async function buildCli(): Promise<void> {
  const sources = ["src", "shaders"].flatMap((folder) =>
    readdirSync(`${root}/${folder}`, { recursive: true, encoding: "utf8" }).map((file) => `${root}/${folder}/${file}`),
  );
  const age = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (age(cli) > Math.max(...sources.map(age))) return;
  await build({ root, mode: "node", logLevel: "error" });
}

export interface CliRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** What standard input gives. */
  readonly input?: string;
  /** Called when output comes, with all that has come so far. */
  readonly onOutput?: (stdout: string, interrupt: () => void) => void;
}

/** Runs `sluice` with arguments. */
export function sluice(args: readonly string[], { input = "", onOutput }: CliOptions = {}): Promise<CliRun> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { cwd: root });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      onOutput?.(stdout, () => child.kill("SIGINT"));
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.end(input);
  });
}

/** Puts a command on the adapter under test. */
export const onTestAdapter: readonly string[] = testAdapterName ? ["--adapter", testAdapterName] : [];
