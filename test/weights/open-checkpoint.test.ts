import { describe, expect, it } from "vitest";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";

const fixtures = ["qwen3-next-tiny", "qwen3-next-yarn", "qwen3.5-dense-tiny", "qwen3.5-moe-tiny"];

describe("openCheckpoint", () => {
  it.each(fixtures)("opens the fixture %s", async (name) => {
    const folder = new URL(`../fixtures/${name}`, import.meta.url).pathname;
    const checkpoint = await openCheckpoint(await FolderSource.open(folder));
    expect(checkpoint.config.model_type).toMatch(/^qwen3/);
    expect(checkpoint.generationConfig).not.toEqual({});
    for (const tensor of checkpoint.tensors.values()) {
      const rows = tensor.shape.slice(0, -1).reduce((product, size) => product * size, 1);
      const read = await tensor.read(0, rows);
      expect(read).toMatchObject({ format: tensor.format, rows, columns: tensor.shape.at(-1) });
      expect(read.data.length).toBe(tensor.sizeBytes);
    }
    await checkpoint.close();
  });
});
