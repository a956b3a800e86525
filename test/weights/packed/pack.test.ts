import { describe, expect, it } from "vitest";
import type { Quantization } from "../../../src/api/types.ts";
import { CheckpointError, InvalidRequestError } from "../../../src/errors.ts";
import { bindWeights } from "../../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { weightLeaves } from "../../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../../src/platform/node/folder-source.ts";
import type { ByteRange, Checkpoint, FileSource } from "../../../src/weights/checkpoint.ts";
import { convertRows } from "../../../src/weights/convert.ts";
import type { WeightSource } from "../../../src/weights/format.ts";
import { httpSource } from "../../../src/weights/http-source.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { listRecords, MANIFEST, type PackManifest } from "../../../src/weights/packed/manifest.ts";
import { sha256 } from "../../../src/weights/packed/sha256.ts";
import { deviceFormat } from "../../../src/weights/plan-format.ts";
import { serveFiles } from "../../support/file-server.ts";
import { MemoryPack } from "../../support/memory-pack.ts";
import { type PackFormats, packModel } from "../../support/pack-model.ts";
import {
  fixtureFolder,
  inOrder,
  loadReferenceModel,
  openReferenceRunner,
  ReferenceSession,
} from "../../support/reference-model.ts";

const SPROUT = new URL("../../../demo/public/models/sprout", import.meta.url).pathname;
const open = async (folder: string) => openCheckpoint(await FolderSource.open(folder));
const bind = (checkpoint: Checkpoint) => bindWeights(parseConfig(checkpoint.config), checkpoint);

/** All rows of a source as `quantization` puts them on a device. */
async function loaded(source: WeightSource, quantization: Quantization) {
  const { format, data, scales } = convertRows(
    await source.read(0, source.rows),
    deviceFormat(source, quantization),
    source.label,
  );
  return { format, data, scales };
}

const same = (a?: Uint8Array, b?: Uint8Array) => Buffer.compare(a ?? Buffer.of(), b ?? Buffer.of()) === 0;

describe("a packed store", () => {
  it.each<[string, PackFormats, number]>([
    [fixtureFolder("qwen3.5-moe-tiny"), { quantization: "q4" }, 500_000],
    [fixtureFolder("qwen3-next-tiny"), { quantization: "q8", experts: "q4" }, 500_000],
    [fixtureFolder("qwen3.5-dense-tiny"), { quantization: "f16" }, 800_000],
    [SPROUT, { quantization: "auto" }, 8e6],
  ])("holds what a device would get of %s as %o, bit by bit", async (folder, formats, shardBytes) => {
    const { target, manifest } = await packModel(folder, formats, { shardBytes });
    expect(manifest.shards.length).toBeGreaterThan(1);
    const original = await open(folder);
    const packed = await openCheckpoint(target);
    expect(packed.config).toEqual(original.config);
    expect(packed.generationConfig).toEqual(original.generationConfig);
    expect(packed.tokenizer).toEqual(original.tokenizer);
    expect(packed.chatTemplate).toBe(original.chatTemplate);
    const sources = weightLeaves(bind(original));
    const leaves = weightLeaves(bind(packed));
    expect(leaves.length).toBe(sources.length);
    for (const [i, source] of sources.entries()) {
      const isExperts = /experts\.(gate_up_proj|down_proj)$/.test(source.label);
      const expected = await loaded(source, (isExperts && formats.experts) || formats.quantization);
      const found = await loaded(leaves[i], "auto");
      expect(found.format, source.label).toBe(expected.format);
      expect(same(found.data, expected.data) && same(found.scales, expected.scales), source.label).toBe(true);
    }
    await original.close();
  });

  it("gives the logits of the checkpoint quantised while loading", async () => {
    const folder = fixtureFolder("qwen3.5-moe-tiny");
    const { target } = await packModel(folder, { quantization: "q4" });
    const session = new ReferenceSession(await loadReferenceModel(await openCheckpoint(target)));
    const packed = session.run([inOrder([3, 5, 7, 11])]).data;
    const runner = await openReferenceRunner(folder, { quantization: "q4" });
    const { logits } = await runner.score({ tokens: [3, 5, 7, 11], position: 0, slot: 0, blocks: [0] }, false);
    expect(packed).toEqual(logits);
  });

  it("has no head where it is the embedding", async () => {
    const { target, manifest } = await packModel(fixtureFolder("qwen3.5-moe-tiny"), { quantization: "q4" });
    const { head, ...tensors } = manifest.tensors;
    expect(head).toBeDefined();
    target.files.set(MANIFEST, new TextEncoder().encode(JSON.stringify({ ...manifest, tensors })));
    const weights = bind(await openCheckpoint(target));
    expect(weights.head).toBe(weights.embedding);
  });

  it("is served by any file server that answers ranges", async () => {
    const { target } = await packModel(fixtureFolder("qwen3.5-moe-tiny"), { quantization: "q4" });
    const server = await serveFiles(Object.fromEntries(target.files));
    try {
      const served = weightLeaves(bind(await openCheckpoint(httpSource(server.url))));
      for (const [i, leaf] of weightLeaves(bind(await openCheckpoint(target))).entries()) {
        const [expected, found] = [await loaded(leaf, "auto"), await loaded(served[i], "auto")];
        expect(same(found.data, expected.data) && same(found.scales, expected.scales), leaf.label).toBe(true);
      }
    } finally {
      await server.close();
    }
  });

  it("gives any rows of a matrix in several parts", async () => {
    const { target } = await packModel(SPROUT, { quantization: "f16" });
    const source = bind(await openCheckpoint(target)).embedding;
    expect(source.partRows).toBeLessThan(source.rows);
    const step = source.partRows!;
    const all = await source.read(0, source.rows);
    for (const [from, to] of [
      [0, step],
      [step - 3, step + 5],
      [5, 6],
      [step, source.rows],
    ]) {
      const { rows, data } = await source.read(from, to);
      expect(rows).toBe(to - from);
      expect(same(data, all.data.subarray(from * source.columns * 2, to * source.columns * 2))).toBe(true);
    }
  });

  it("reads an expert's two matrices at once, as the record that it lists", async () => {
    const { target, manifest } = await packModel(fixtureFolder("qwen3.5-moe-tiny"), { quantization: "q4" });
    const { layers } = bind(await openCheckpoint(target));
    const layer = layers.findIndex(({ feedForward }) => feedForward.kind === "moe");
    const { feedForward } = layers[layer];
    if (feedForward.kind !== "moe") throw new Error("no experts");
    const { gateUp, down, experts } = feedForward.experts;
    const [I2, H] = [gateUp.rows / experts, down.rows / experts];
    target.reads.length = 0;
    await Promise.all([gateUp.read(3 * I2, 4 * I2), down.read(3 * H, 4 * H)]);
    const { file, from, to } = listRecords(manifest).find((r) => r.expert?.layer === layer && r.expert.id === 3)!;
    expect(target.reads).toEqual([{ name: file, from, to }]);
    expect(from % 256).toBe(0);
  });

  it("reads and hashes what is asked for in one turn together, where its files can; later without hashes", async () => {
    const { target } = await packModel(fixtureFolder("qwen3.5-moe-tiny"), { quantization: "q4" });
    const asked: number[] = [];
    let released = 0;
    const files: FileSource = Object.assign(target, {
      readHashed: async (name: string, ranges: readonly ByteRange[]) => {
        asked.push(ranges.length);
        const parts = ranges.map(({ from, to }) => target.files.get(name)!.slice(from, to));
        const hashed = parts.map(async (bytes) => ({ bytes, sha256: await sha256(bytes) }));
        return { parts: await Promise.all(hashed), release: () => void released++ };
      },
    });
    const { layers } = bind(await openCheckpoint(files));
    const { feedForward } = layers.find(({ feedForward }) => feedForward.kind === "moe")!;
    if (feedForward.kind !== "moe") throw new Error("no experts");
    const { gateUp, experts } = feedForward.experts;
    expect(gateUp.turnBytes).toBeGreaterThan(1e6);
    const rows = gateUp.rows / experts;
    const some = (count: number) =>
      Promise.all(Array.from({ length: count }, (_, e) => gateUp.read(e * rows, (e + 1) * rows)));
    const found = await some(3);
    expect(asked).toEqual([3]);
    for (const { release } of found.slice(1)) release?.();
    expect(released).toBe(0);
    found[0].release?.();
    expect(released).toBe(1);
    target.reads.length = 0;
    const again = await some(4);
    expect(asked).toEqual([3, 1]);
    expect(target.reads.length).toBe(3);
    for (const [e, { data }] of found.entries()) expect(same(again[e].data, data)).toBe(true);
    target.files.get("weights-00000.bin")!.fill(7);
    await expect(gateUp.read(5 * rows, 6 * rows)).rejects.toThrow(/bytes \d+ to \d+ are not those that were packed/);
  });

  it("lists records that cover all parts, in order, dense ones first", async () => {
    const { manifest } = await packModel(
      fixtureFolder("qwen3-next-tiny"),
      { quantization: "q4" },
      { shardBytes: 500_000 },
    );
    const records = listRecords(manifest);
    const parts = Object.values(manifest.tensors).reduce((sum, tensor) => sum + tensor.parts.length, 0);
    expect(records.reduce((sum, record) => sum + record.parts.length, 0)).toBe(parts);
    const firstExpert = records.findIndex(({ expert }) => expert);
    expect(firstExpert).toBeGreaterThan(0);
    expect(records.slice(firstExpert).every(({ expert }) => expert)).toBe(true);
    for (const [i, { file, to }] of records.entries()) {
      const next = records[i + 1];
      if (next?.file === file) expect(next.from).toBeGreaterThanOrEqual(to);
      else expect(manifest.shards.find((shard) => shard.file === file)!.bytes).toBe(to);
      expect(to).toBeLessThanOrEqual(500_000);
    }
  });
});

describe("packing that was interrupted", () => {
  const folder = fixtureFolder("qwen3.5-moe-tiny");
  const formats = { quantization: "q4" } as const;

  /** Packs until so many records are written. */
  async function interrupted(records: number): Promise<MemoryPack> {
    const target = new MemoryPack();
    let written = 0;
    target.onWrite = (name) => {
      if (name.startsWith("weights") && ++written > records) throw new Error("killed");
    };
    await expect(packModel(folder, formats, {}, target)).rejects.toThrow("killed");
    target.onWrite = () => {};
    return target;
  }

  function expectSameShards(target: MemoryPack, { files }: MemoryPack): void {
    for (const [name, bytes] of files) {
      if (name.startsWith("weights")) expect(same(target.files.get(name), bytes), name).toBe(true);
    }
  }

  it("is no model, goes on where it stopped, and ends in the same bytes", async () => {
    const { target: whole } = await packModel(folder, formats);
    const target = await interrupted(10);
    await expect(openCheckpoint(target)).rejects.toThrow(CheckpointError);
    const phases: string[] = [];
    await packModel(folder, formats, { onProgress: ({ phase }) => phases.push(phase) }, target);
    expect(phases.lastIndexOf("verify")).toBe(9);
    expect(phases.filter((phase) => phase === "pack").length).toBeGreaterThan(0);
    expectSameShards(target, whole);
    expect([...target.files.keys()].sort()).toEqual([...whole.files.keys()].sort());
  });

  it("does again what is not as it was written, and what the journal only half says", async () => {
    const { target: whole } = await packModel(folder, formats);
    const target = await interrupted(10);
    const shard = target.files.get("weights-00000.bin")!;
    shard[shard.length >> 1] ^= 1;
    const journal = target.files.get("sluice.json.unfinished")!;
    target.files.set("sluice.json.unfinished", journal.slice(0, -7));
    await packModel(folder, formats, {}, target);
    expectSameShards(target, whole);
  });

  it("refuses to go on with other formats, or into a finished store", async () => {
    const target = await interrupted(10);
    await expect(packModel(folder, { quantization: "q8" }, {}, target)).rejects.toThrow(/unfinished model of other/);
    await packModel(folder, formats, {}, target);
    await expect(packModel(folder, formats, {}, target)).rejects.toThrow(InvalidRequestError);
  });
});

describe("a damaged store", () => {
  let whole: Promise<MemoryPack> | undefined;
  const packed = async () => {
    whole ??= packModel(fixtureFolder("qwen3.5-moe-tiny"), { quantization: "q4" }).then(({ target }) => target);
    return (await whole).copy();
  };
  const readAll = async (target: MemoryPack) => {
    for (const leaf of weightLeaves(bind(await openCheckpoint(target)))) await leaf.read(0, leaf.rows);
  };
  const edit = (target: MemoryPack, change: (manifest: PackManifest) => object) => {
    const manifest = JSON.parse(new TextDecoder().decode(target.files.get(MANIFEST)!));
    target.files.set(MANIFEST, new TextEncoder().encode(JSON.stringify({ ...manifest, ...change(manifest) })));
  };

  it("with a flipped byte names the file, and what to do", async () => {
    const target = await packed();
    target.files.get("weights-00000.bin")![5000] ^= 1;
    await expect(readAll(target)).rejects.toThrow(CheckpointError);
    await expect(readAll(target)).rejects.toThrow(
      /memory\/weights-00000\.bin: bytes \d+ to \d+ .*Download it again, or pack/,
    );
  });

  it("with a flipped byte in its tokenizer says so", async () => {
    const { target } = await packModel(SPROUT, { quantization: "auto" });
    target.files.get("tokenizer.json")![100] ^= 1;
    await expect(openCheckpoint(target)).rejects.toThrow(/tokenizer\.json.*damaged/);
  });

  it.each<[string, (target: MemoryPack) => void, RegExp]>([
    ["another version", (t) => edit(t, () => ({ version: 2 })), /version 2 .*reads version 1.*Update Sluice/],
    ["a missing shard", (t) => t.files.delete("weights-00000.bin"), /weights-00000\.bin: the file is missing/],
    ["a short shard", (t) => t.files.set("weights-00000.bin", new Uint8Array(9)), /has 9 bytes instead of \d+/],
    [
      "half a manifest",
      (t) => t.files.set(MANIFEST, t.files.get(MANIFEST)!.slice(0, 99)),
      /sluice\.json: this is not JSON/,
    ],
    ["a shard elsewhere", (t) => edit(t, () => ({ shards: [{ file: "../x", bytes: 1 }] })), /"\.\.\/x" is not a plain/],
    [
      "a missing tensor",
      (t) => edit(t, ({ tensors: { embedding, ...tensors } }) => ({ tensors })),
      /embedding .* is missing/,
    ],
    [
      "a misplaced part",
      (t) => edit(t, ({ tensors }) => ({ tensors: { ...tensors, embedding: { ...tensors.embedding, parts: [] } } })),
      /tensor embedding has no sound/,
    ],
  ])("with %s is refused", async (_, damage, message) => {
    const target = await packed();
    damage(target);
    await expect(readAll(target)).rejects.toThrow(message);
  });
});
