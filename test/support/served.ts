import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { onTestAdapter } from "./cli.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

export interface Served {
  readonly url: string;
  readonly child: ChildProcess;
  /** All that it has said. */
  said(): string;
  /** Ends it with SIGTERM, and gives its exit code. */
  stop(): Promise<number | null>;
}

/** Starts `sluice serve` on a free port, and waits until it answers. `buildCli` comes first. */
export async function startServe(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Served> {
  const all = [`${root}/dist/node/cli.js`, "serve", "--port", "0", ...onTestAdapter, ...args];
  const child = spawn(process.execPath, all, { cwd: root, env: { ...process.env, ...env } });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said += text;
      const found = /Sluice serves .* on (http:\S+)\/v1/.exec(said);
      if (found) resolve(found[1]);
    });
    ended.then((code) => reject(new Error(`ended with ${code}: ${said}`)));
  });
  return {
    url,
    child,
    said: () => said,
    stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}
