import { describe, expect, it } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { FileListSource } from "../../src/weights/file-list-source.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { modelFiles, toFiles } from "../support/model-files.ts";

describe("FileListSource", () => {
  it("takes loose files by their names", async () => {
    const source = new FileListSource(toFiles(modelFiles()));
    expect(source.label).toBe("the chosen files");
    expect(await source.size("config.json")).toBe(24);
    expect(await source.size("other.json")).toBeUndefined();
    expect(new TextDecoder().decode(await source.read("config.json", { from: 2, to: 14 }))).toBe('"model_type"');
    await expect(source.read("other.json")).rejects.toThrow(/other\.json: this file is not among those chosen/);
    await expect(source.read("config.json", { from: 0, to: 25 })).rejects.toThrow(/ends at byte 24.*up to 25/);
  });

  it("takes the folder of the topmost config.json, and nothing outside of it", async () => {
    const files = [
      ...toFiles({ "notes.txt": "no" }, "downloads"),
      ...toFiles(modelFiles(), "downloads/sprout"),
      ...toFiles({ "config.json": "{}" }, "downloads/sprout/original"),
    ];
    const source = new FileListSource(files);
    expect(source.label).toBe("sprout");
    expect(await source.size("notes.txt")).toBeUndefined();
    expect((await openCheckpoint(source)).config).toEqual({ model_type: "tiny" });
  });

  it("takes the folder of a packed model", async () => {
    const source = new FileListSource(toFiles({ "sluice.json": "{}", "weights-00000.bin": "w" }, "packed"));
    expect(source.label).toBe("packed");
    expect(await source.size("weights-00000.bin")).toBe(1);
  });

  it("does not choose between two models", () => {
    const files = [...toFiles(modelFiles(), "a"), ...toFiles(modelFiles(), "b")];
    expect(() => new FileListSource(files)).toThrow(CheckpointError);
    expect(() => new FileListSource(files)).toThrow(/a\/ and b\/ each holds a config\.json/);
  });

  it("says so when a file has changed since it was chosen", async () => {
    const [config] = toFiles({ "config.json": "{}" });
    config.slice = () => ({ arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) }) as never;
    await expect(new FileListSource([config]).read("config.json")).rejects.toThrow(/changed or moved/);
  });
});
