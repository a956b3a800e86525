import { expect, it } from "vitest";
import type { FileSource } from "../../../src/weights/checkpoint.ts";
import { FileListSource } from "../../../src/weights/file-list-source.ts";
import { chooseGguf, splitFiles } from "../../../src/weights/gguf/choose-gguf.ts";
import { toFiles } from "../../support/model-files.ts";

const choose = (names: readonly string[], file?: string) =>
  chooseGguf(new FileListSource(toFiles(Object.fromEntries(names.map((name) => [name, ""])))), file);

it.each([
  { names: ["config.json", "model.safetensors", "model.gguf"], chosen: undefined },
  { names: ["config.json", "model.safetensors.index.json", "model.gguf"], chosen: undefined },
  { names: ["config.json", "tokenizer.json", "model.gguf"], chosen: "model.gguf" },
  { names: ["Model-Q4_K_M.GGUF", "mmproj-F16.gguf", "README.md"], chosen: "Model-Q4_K_M.GGUF" },
  { names: ["m-00002-of-00002.gguf", "m-00001-of-00002.gguf"], chosen: "m-00001-of-00002.gguf" },
  { names: ["config.json"], chosen: undefined },
])("of $names it opens $chosen", async ({ names, chosen }) => {
  expect(await choose(names)).toBe(chosen);
});

it("opens the one that is asked for, and lists those there are where none is", async () => {
  const names = ["b-Q8_0.gguf", "a-Q4_K_M.gguf"];
  expect(await choose(names, "b-Q8_0.gguf")).toBe("b-Q8_0.gguf");
  expect(await choose([...names, "model.safetensors"], "b-Q8_0.gguf")).toBe("b-Q8_0.gguf");
  await expect(choose(names)).rejects.toThrow(/there are 2 models: a-Q4_K_M\.gguf, b-Q8_0\.gguf\. Say which/);
});

it("asks nothing of a server, which cannot list its files", async () => {
  const server = { label: "server" } as FileSource;
  expect(await chooseGguf(server, undefined)).toBeUndefined();
  expect(await chooseGguf(server, "model.gguf")).toBe("model.gguf");
});

it("finds the parts of a split model by the name of any", () => {
  expect(splitFiles("m.gguf")).toEqual(["m.gguf"]);
  expect(splitFiles("m-00002-of-00003.gguf")).toEqual([1, 2, 3].map((part) => `m-0000${part}-of-00003.gguf`));
});
