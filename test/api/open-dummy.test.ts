import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { openModel } from "../../src/api/open-model.ts";
import { SHAPES } from "../../src/models/qwen3-next/shapes.ts";
import { weightLeaves } from "../../src/models/qwen3-next/weights.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { testAdapterName } from "../support/gpu.ts";
import { TINY } from "../support/tiny-model.ts";

const SPROUT = "demo/public/models/sprout";
const folder = mkdtempSync(join(tmpdir(), "sluice-dummy-"));
writeFileSync(join(folder, "config.json"), JSON.stringify({ ...TINY, vocab_size: 9000 }));
afterAll(() => rmSync(folder, { recursive: true }));

const dummy = { loadFormat: "dummy", store: "none", device: { adapter: testAdapterName, dtype: "f32" } } as const;

test("a published shape needs no files but a tokenizer's, and may be changed", async () => {
  const options = { loadFormat: "dummy", tokenizer: SPROUT, configOverrides: { num_hidden_layers: 8 } } as const;
  const { checkpoint, config, sources } = await openModel(nodePlatform, "Qwen3-Next-80B-A3B", options);
  expect(config).toMatchObject({ vocabularySize: 151936, experts: 512 });
  expect(sources.layers).toHaveLength(8);
  expect(checkpoint.tokenizer).toBeDefined();
  expect(checkpoint.chatTemplate).toContain("<|im_start|>");
  // Its embedding is its head as well.
  const tied = await openModel(nodePlatform, "qwen3.5-0.8b", { loadFormat: "dummy", quantization: "q4" });
  expect(SHAPES["qwen3.5-0.8b"]).toMatchObject({ tie_word_embeddings: true });
  expect(tied.sources.head).toBe(tied.sources.embedding);
  expect(new Set(weightLeaves(tied.sources).map(({ format }) => format))).toEqual(new Set(["q4", "q8", "bf16", "f32"]));
  await expect(openModel(nodePlatform, SPROUT.replace("sprout", ""), { loadFormat: "dummy" })).rejects.toThrow(
    /has no config\.json, and is none of qwen3-next-80b-a3b/,
  );
});

test("a folder without weights chats; ids that stand for nothing do no harm", async () => {
  const load = () => LocalLLM.load(nodePlatform, folder, { ...dummy, tokenizer: SPROUT, maxContext: 64 });
  const llm = await load();
  const ask = (llm: LocalLLM) =>
    llm.chat([{ role: "user", content: "Hello" }], { temperature: 0, maxTokens: 8, ignoreEos: true }).finish();
  const { tokenIds } = await ask(llm);
  expect(tokenIds).toHaveLength(8);
  expect(Math.max(...tokenIds)).toBeLessThan(8256);
  const strange = await llm.generate([8999, 8300, 5], { temperature: 0, maxTokens: 4, logprobs: 20 }).finish();
  expect(strange.tokenIds.length).toBeGreaterThan(0);
  expect(await llm.detokenize([8999, ...tokenIds])).toBe(await llm.detokenize(tokenIds));
  await llm.dispose();
  const again = await load();
  expect((await ask(again)).tokenIds).toEqual(tokenIds);
  await again.dispose();
});
