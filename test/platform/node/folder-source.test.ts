import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CheckpointError } from "../../../src/errors.ts";
import { FolderSource } from "../../../src/platform/node/folder-source.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-folder-"));
  await writeFile(join(folder, "data"), "0123456789");
});
afterAll(() => rm(folder, { recursive: true }));

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("FolderSource", () => {
  it("reads whole files and ranges of them, also at the same time", async () => {
    const source = await FolderSource.open(folder);
    expect(await source.size("data")).toBe(10);
    const reads = [
      source.read("data"),
      source.read("data", { from: 3, to: 6 }),
      source.read("data", { from: 4, to: 4 }),
    ];
    expect((await Promise.all(reads)).map(text)).toEqual(["0123456789", "345", ""]);
    await source.close();
  });

  it("tells what is missing, and what is not a folder", async () => {
    const source = await FolderSource.open(folder);
    expect(await source.size("other")).toBeUndefined();
    await expect(source.read("other")).rejects.toThrow(/other: there is no such file/);
    await expect(FolderSource.open(join(folder, "nowhere"))).rejects.toThrow(/nowhere: there is no such folder/);
    await expect(FolderSource.open(join(folder, "data"))).rejects.toThrow(/data: this is not a folder/);
    await source.close();
  });

  it("notices a file that became shorter while it was open", async () => {
    await writeFile(join(folder, "shrinking"), "0123456789");
    const source = await FolderSource.open(folder);
    await source.size("shrinking");
    await truncate(join(folder, "shrinking"), 5);
    const read = source.read("shrinking", { from: 3, to: 8 });
    await expect(read).rejects.toThrow(CheckpointError);
    await expect(read).rejects.toThrow(/ends at byte 5, bytes up to 8/);
    await source.close();
  });

  it("reads into memory that was taken back, of which it keeps no more than it is worth", async () => {
    const source = await FolderSource.open(folder);
    const first = await source.read("data", { from: 0, to: 4 });
    source.recycle(first);
    expect((await source.read("data", { from: 0, to: 3 })).buffer).not.toBe(first.buffer);
    const second = await source.read("data", { from: 5, to: 9 });
    expect(second.buffer).toBe(first.buffer);
    expect(text(second)).toBe("5678");
    source.recycle(second);
    source.recycle(new Uint8Array(64e6));
    expect((await source.read("data", { from: 0, to: 4 })).buffer).not.toBe(first.buffer);
    await source.close();
  });

  it("stops on abort, and after close", async () => {
    const source = await FolderSource.open(folder);
    const reason = new Error("enough");
    await expect(source.read("data", undefined, AbortSignal.abort(reason))).rejects.toBe(reason);
    await source.close();
    await expect(source.read("data")).rejects.toThrow(/closed/);
  });
});
