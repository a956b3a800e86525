import { expect, test } from "vitest";
import { allBlocks } from "../../src/engine/runner.ts";
import { openGpuModel } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";

/** What a freshly loaded Sprout draws after a few tokens, with fused kernels where the adapter has what they need. */
async function drawn(seed: number): Promise<number[]> {
  const runner = await openGpuModel("demo/public/models/sprout", { dtype: "f16", fused: true });
  const row = { slot: 0, blocks: allBlocks(runner) };
  runner.setSampling(0, { ...GREEDY, temperature: 1, seed, maxTokens: 33 }, []);
  const [first] = await runner.prefill([{ ...row, tokens: [5, 17, 3, 80, 9], position: 0, sample: true }]);
  const tokens = [first!.token];
  for (let i = 0; i < 32; i++) tokens.push((await runner.decode([{ ...row, position: 5 + i }]))[0]!.token);
  runner.dispose();
  return tokens;
}

test("the same seed draws the same tokens on a device opened anew, another seed others", async () => {
  const first = await drawn(7);
  expect(await drawn(7)).toEqual(first);
  expect(await drawn(8)).not.toEqual(first);
});
