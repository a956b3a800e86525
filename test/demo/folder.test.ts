import { expect, it } from "vitest";
import { checkpointFolder } from "../../demo/src/folder.ts";

const found = (...paths: string[]) => paths.map((path) => ({ path, file: { name: path } as File }));
const names = (paths: string[]) => checkpointFolder(found(...paths)).files.map(({ name }) => name);

it("takes the files beside the config.json nearest to the top", () => {
  const paths = ["/m/config.json", "/m/model.safetensors", "/m/original/config.json", "/m/.git/HEAD"];
  expect(names(paths)).toEqual(["/m/config.json", "/m/model.safetensors"]);
  expect(checkpointFolder(found(...paths)).name).toBe("m");
});

it("finds a checkpoint below the folder that was chosen", () => {
  expect(names(["models/readme", "models/tiny/config.json", "models/tiny/a.safetensors"])).toEqual([
    "models/tiny/config.json",
    "models/tiny/a.safetensors",
  ]);
});

it("takes a packed model's folder, and a .gguf by its own name", () => {
  expect(names(["/p/sluice.json", "/p/weights-00000.bin", "/p/more/x"])).toEqual([
    "/p/sluice.json",
    "/p/weights-00000.bin",
  ]);
  expect(checkpointFolder(found("/d/next-Q4_K-00001-of-00002.gguf", "/d/next-Q4_K-00002-of-00002.gguf"))).toMatchObject(
    {
      name: "next-Q4_K",
      files: { length: 2 },
    },
  );
});

it("passes on what has no config.json, so that the model's error can say so", () => {
  expect(names(["a.txt"])).toEqual(["a.txt"]);
});

it("names files that were dropped without a folder", () => {
  expect(checkpointFolder(found("/config.json")).name).toBe("Local model");
});
