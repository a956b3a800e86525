import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { allBlocks } from "../../../src/engine/runner.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { FolderSource } from "../../../src/platform/node/folder-source.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { buildCli, sluice } from "../../support/cli.ts";
import { expectClose } from "../../support/compare.ts";
import { BLOCKS } from "../../support/gguf-blocks.ts";
import { type GgufModel, ggufModel } from "../../support/gguf-model.ts";
import { tokenizerMetadata } from "../../support/gguf-tokenizer.ts";
import { writeGguf } from "../../support/gguf-writer.ts";
import { readGolden } from "../../support/golden.ts";
import { loadGpuModel } from "../../support/gpu-model.ts";
import {
  fixtureFolder,
  inOrder,
  loadReferenceModel,
  openReferenceRunner,
  type ReferenceModel,
  ReferenceSession,
} from "../../support/reference-model.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-gguf-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Writes a model with every type in turn, as one file of `folder`. */
async function convert(source: string, name: string): Promise<{ path: string; model: GgufModel }> {
  const checkpoint = await openCheckpoint(await FolderSource.open(source));
  const types = Object.keys(BLOCKS);
  let next = 0;
  const model = await ggufModel(checkpoint, { type: () => types[next++ % types.length] });
  const { vocabularySize } = parseConfig(checkpoint.config);
  const tokenizer = checkpoint.tokenizer ? tokenizerMetadata(checkpoint, vocabularySize) : {};
  await checkpoint.close();
  const path = join(folder, name);
  writeFileSync(path, writeGguf({ ...model.metadata, ...tokenizer }, model.tensors));
  return { path, model };
}

describe("Sprout in all types", () => {
  const prompt = "Once upon a time there was a small boat";
  let path: string;
  let expected: ReferenceModel;
  let ids: number[];

  beforeAll(async () => {
    const converted = await convert("demo/public/models/sprout", "sprout.gguf");
    path = converted.path;
    expected = await loadReferenceModel(converted.model.expected);
  });

  it("computes what its types stand for, but for scales in f16", async () => {
    const checkpoint = await openCheckpoint(await FolderSource.open(path));
    ids = new Tokenizer(checkpoint.tokenizer!, checkpoint.label).encode(prompt);
    const actual = await loadReferenceModel(checkpoint);
    await checkpoint.close();
    const [logits, wanted] = [actual, expected].map((model) => new ReferenceSession(model).run([inOrder(ids)]).data);
    // Measured: 0.0014; the types themselves lose 0.041.
    expectClose(logits, wanted, 0.005, "logits");
  });

  it("goes on at the command line as it should, from a text", async () => {
    await buildCli();
    const args = [
      "generate",
      path,
      "--prompt",
      prompt,
      "--temperature",
      "0",
      "--max-tokens",
      "8",
      "--reference",
      "--json",
    ];
    const { code, stdout, stderr } = await sluice(args);
    expect(code, stderr).toBe(0);
    const session = new ReferenceSession(expected);
    const reply: number[] = [];
    let logits = session.run([inOrder(ids)]);
    while (reply.length < 8) {
      const last = logits.data.subarray(-logits.columns);
      reply.push(last.indexOf(last.reduce((a, b) => Math.max(a, b))));
      logits = session.run([inOrder(reply.slice(-1), ids.length + reply.length - 1)]);
    }
    expect(JSON.parse(stdout).tokenIds).toEqual(reply);
  });
});

it("computes on the GPU what the definition computes, with every type and heads in tiles", async () => {
  const { path } = await convert(fixtureFolder("qwen3.5-moe-tiny"), "tiled.gguf");
  const { tokens } = await readGolden("qwen3.5-moe-tiny");
  const part = tokens.slice(0, 40);
  const checkpoint = await openCheckpoint(await FolderSource.open(path));
  const runner = await loadGpuModel(checkpoint);
  await checkpoint.close();
  const reference = await openReferenceRunner(path);
  const scores = await Promise.all(
    [runner, reference].map((each) =>
      each.score({ tokens: part, position: 0, slot: 0, blocks: allBlocks(each) }, false),
    ),
  );
  runner.dispose();
  expectClose(scores[0].logits, scores[1].logits, 1e-5, "logits");
}, 240_000);
