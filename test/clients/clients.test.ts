import { afterAll, beforeAll, expect, it } from "vitest";
import { buildCli } from "../support/cli.ts";
import { type Served, startServe } from "../support/served.ts";
import { anthropicSdk } from "./anthropic-sdk.ts";
import { KEY } from "./asked.ts";
import { langchain } from "./langchain.ts";
import { openaiNode } from "./openai-node.ts";
import { vercelAi } from "./vercel-ai.ts";

let served: Served;

beforeAll(async () => {
  await buildCli();
  served = await startServe([
    ...["--api-key", KEY, "--served-model-name", "sprout", "--strict-model"],
    ...["--max-model-len", "1024", "--max-num-seqs", "4", "--dtype", "f32"],
  ]);
});
afterAll(() => served.child.kill("SIGKILL"));

openaiNode(() => served.url);
vercelAi(() => served.url);
langchain(() => served.url);
anthropicSdk(() => served.url);

it("has nothing to complain of, and stops when it is told to", async () => {
  expect(await served.stop()).toBe(0);
  expect(served.said()).not.toMatch(/Error/);
});
