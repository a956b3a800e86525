import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { CheckpointError } from "../../../src/errors.ts";
import { bindWeights } from "../../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { packItems } from "../../../src/models/qwen3-next/pack-items.ts";
import { weightLeaves } from "../../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../../src/platform/node/folder-source.ts";
import { PackFolder } from "../../../src/platform/node/pack-folder.ts";
import { ReadThreads } from "../../../src/platform/node/read-threads.ts";
import type { Checkpoint } from "../../../src/weights/checkpoint.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { writePack } from "../../../src/weights/packed/write-pack.ts";
import { buildCli } from "../../support/cli.ts";
import { fixtureFolder } from "../../support/reference-model.ts";

const script = fileURLToPath(new URL("../../../dist/node/read-worker.js", import.meta.url));
const data = randomBytes(3_000_000);
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

let folder: string;
beforeAll(async () => {
  await buildCli();
  folder = await mkdtemp(join(tmpdir(), "sluice-threads-"));
  await writeFile(join(folder, "data"), data);
});
afterAll(() => rm(folder, { recursive: true }));

const RANGES = [
  { from: 5, to: 1_000_001 },
  { from: 2_500_000, to: 3_000_000 },
  { from: 7, to: 7 },
  { from: 0, to: 300 },
];

describe("ReadThreads", () => {
  const threads: ReadThreads[] = [];
  const start = (program = script) => {
    threads.push(new ReadThreads(program, 2));
    return threads.at(-1)!;
  };
  afterEach(() => Promise.all(threads.splice(0).map((one) => one.close())));

  it("read ranges and hash them, several at once, again and again", async () => {
    const reading = start();
    for (let i = 0; i < 3; i++) {
      const all = await Promise.all(Array.from({ length: 5 }, () => reading.read(join(folder, "data"), RANGES)));
      for (const found of all) {
        for (const [r, { from, to }] of RANGES.entries()) {
          expect(Buffer.compare(found!.parts[r].bytes, data.subarray(from, to))).toBe(0);
          expect(found!.parts[r].sha256).toBe(sha256(data.subarray(from, to)));
        }
        found!.release();
      }
    }
  });

  it("say nothing of a file that is not there, or too short, and read on", async () => {
    const reading = start();
    expect(await reading.read(join(folder, "nothing"), RANGES)).toBeUndefined();
    expect(await reading.read(join(folder, "data"), [{ from: 0, to: 3_000_001 }])).toBeUndefined();
    expect(await reading.read(join(folder, "data"), RANGES)).toBeDefined();
  });

  it("leave nobody waiting when they end, and start anew", async () => {
    const dying = join(folder, "dying.mjs");
    await writeFile(
      dying,
      "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { throw 1 });",
    );
    const reading = start(dying);
    const reads = Array.from({ length: 5 }, () => reading.read(join(folder, "data"), RANGES));
    expect(await Promise.all(reads)).toEqual(Array(5).fill(undefined));
    expect(await reading.read(join(folder, "data"), RANGES)).toBeUndefined();
    const closed = start();
    const pending = closed.read(join(folder, "data"), RANGES);
    await closed.close();
    // It may have been quick.
    const parts = (await pending)?.parts.length ?? RANGES.length;
    expect(parts).toBe(RANGES.length);
  });

  it("end when there is nothing to do", async () => {
    const ends = vi.spyOn(Worker.prototype, "terminate");
    const reading = start();
    const reads = [1, 2].map(() => reading.read(join(folder, "data"), RANGES));
    for (const found of await Promise.all(reads)) found!.release();
    expect(ends).not.toHaveBeenCalled();
    await expect.poll(() => ends.mock.calls).toHaveLength(2);
    ends.mockRestore();
    expect(await reading.read(join(folder, "data"), RANGES)).toBeDefined();
  });
});

describe("FolderSource.readHashed", () => {
  const open = (threadScript: string, aloneBytes = 0) => FolderSource.open(folder, { threadScript, aloneBytes });
  const read = async (source: FolderSource) => {
    const { parts, release } = await source.readHashed!("data", RANGES);
    for (const [r, { from, to }] of RANGES.entries()) {
      expect(Buffer.compare(parts[r].bytes, data.subarray(from, to))).toBe(0);
      expect(parts[r].sha256).toBe(sha256(data.subarray(from, to)));
    }
    release();
  };

  it("gives the same with threads, before they are worth it, and where they die", async () => {
    const dying = join(folder, "ending.mjs");
    await writeFile(dying, "process.exit(1)");
    for (const source of [await open(script), await open(script, 2_000_000), await open(dying)]) {
      for (let i = 0; i < 3; i++) await read(source);
      await source.close();
    }
  });

  it("fails as plain reading does", async () => {
    const source = await open(script);
    await writeFile(join(folder, "shrinking"), "0123456789");
    await truncate(join(folder, "shrinking"), 5);
    const short = source.readHashed!("shrinking", [{ from: 3, to: 8 }]);
    await expect(short).rejects.toThrow(CheckpointError);
    await expect(short).rejects.toThrow(/ends at byte 5, bytes up to 8/);
    await expect(source.readHashed!("other", RANGES)).rejects.toThrow(/other: there is no such file/);
    const reason = new Error("enough");
    await expect(source.readHashed!("data", RANGES, AbortSignal.abort(reason))).rejects.toBe(reason);
    const pending = source.readHashed!("data", RANGES).then(
      () => undefined,
      (error: Error) => error.message,
    );
    await source.close();
    expect(await pending).toMatch(/closed|^$/);
    await expect(source.readHashed!("data", RANGES)).rejects.toThrow(/closed/);
  });

  it("reads a packed model as it is, and finds a flipped byte", async () => {
    const packed = join(folder, "packed");
    const original = await openCheckpoint(await FolderSource.open(fixtureFolder("qwen3.5-moe-tiny")));
    const bind = (checkpoint: Checkpoint) => weightLeaves(bindWeights(parseConfig(checkpoint.config), checkpoint));
    const sources = bindWeights(parseConfig(original.config), original);
    const target = await PackFolder.create(packed);
    await writePack(target, original, packItems(sources, { quantization: "q4" }));
    await target.close();
    await original.close();
    const openPack = async (threadScript: string | false) =>
      openCheckpoint(await FolderSource.open(packed, { threadScript, aloneBytes: 0 }));
    const [byThreads, alone] = [await openPack(script), await openPack(false)];
    const expected = bind(alone);
    for (const [i, leaf] of bind(byThreads).entries()) {
      const [a, b] = [await leaf.read(0, leaf.rows), await expected[i].read(0, leaf.rows)];
      expect(Buffer.compare(a.data, b.data), leaf.label).toBe(0);
      expect(Buffer.compare(a.scales ?? Buffer.of(), b.scales ?? Buffer.of()), leaf.label).toBe(0);
    }
    await Promise.all([byThreads.close(), alone.close()]);
    const shard = join(packed, "weights-00000.bin");
    const bytes = await readFile(shard);
    bytes[5000] ^= 1;
    await writeFile(shard, bytes);
    const damaged = await openPack(script);
    const read = async () => {
      for (const leaf of bind(damaged)) await leaf.read(0, leaf.rows);
    };
    await expect(read()).rejects.toThrow(/weights-00000\.bin: bytes \d+ to \d+ are not those that were packed/);
    await damaged.close();
  });
});
