import { InvalidRequestError } from "../../errors.ts";
import type { Checkpoint, FileSource } from "../checkpoint.ts";
import { convertRows } from "../convert.ts";
import { MANIFEST, PACK_VERSION, type PackManifest, partLayout } from "./manifest.ts";
import {
  type PackItem,
  type PackOptions,
  type PackPlan,
  type PlannedPart,
  type PlannedRecord,
  planPack,
} from "./plan-pack.ts";
import { sha256 } from "./sha256.ts";

/** A folder that a packed store is written to. Bytes between those written read as zeros. */
export interface PackTarget extends FileSource {
  write(name: string, at: number, bytes: Uint8Array): Promise<void>;
  /** Makes `bytes` the whole of a file at once, and only after all that was written before is safe. */
  replace(name: string, bytes: Uint8Array): Promise<void>;
  remove(name: string): Promise<void>;
}

export interface PackProgress {
  /** `verify` goes over what an interrupted run has left. */
  readonly phase: "verify" | "pack";
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface WritePackOptions extends PackOptions {
  readonly onProgress?: (progress: PackProgress) => void;
  readonly signal?: AbortSignal;
  /** Who encodes records, by their numbers in the plan, and how many at once. Default: this thread, one while another is written. */
  readonly encoders?: { readonly count: number; encode(record: number): Promise<EncodedRecord> };
}

/** A record as it is written, and the hashes of its parts. */
export interface EncodedRecord {
  readonly bytes: Uint8Array;
  readonly hashes: string[];
}

/** Hashes of finished records, a line each, while a store is being written. */
const JOURNAL = "sluice.json.unfinished";

/**
 * Writes a packed store record by record, its manifest last: until then the folder is no model. After an interruption the
 * same call goes on where it stopped; what is there is checked against its hashes first. Two records are held in memory, or one more than there are encoders.
 *
 * @throws InvalidRequestError where the folder holds a packed model, or an unfinished one of other weights or formats
 * @throws CheckpointError where a weight cannot be read or packed
 */
export async function writePack(
  target: PackTarget,
  checkpoint: Checkpoint,
  items: readonly PackItem[],
  options: WritePackOptions = {},
): Promise<PackManifest> {
  const { onProgress, signal } = options;
  if ((await target.size(MANIFEST)) !== undefined) {
    throw new InvalidRequestError("the folder", `${target.label} holds a packed model already. Choose another.`);
  }
  const plan = planPack(items, options);
  const totalBytes = plan.records.reduce((sum, { bytes }) => sum + bytes, 0);
  const journal = await Journal.open(target, await fingerprint(checkpoint, plan));
  let doneBytes = 0;
  const report = (phase: PackProgress["phase"], { bytes }: PlannedRecord) => {
    doneBytes += bytes;
    onProgress?.({ phase, doneBytes, totalBytes });
  };

  let done = 0;
  for (const record of plan.records.slice(0, journal.hashes.length)) {
    signal?.throwIfAborted();
    if (!(await isIntact(target, plan, record, journal.hashes[done]))) break;
    report("verify", record);
    done++;
  }
  await journal.keep(done);

  const encoders = options.encoders ?? { count: 1, encode: (i) => encodeRecord(plan.records[i], signal) };
  const encoding: Promise<EncodedRecord>[] = [];
  let begun = done;
  const begin = () => {
    if (begun === plan.records.length) return;
    const next = encoders.encode(begun++);
    // Its failure is heard when it is awaited, which a failed write would prevent.
    next.catch(() => {});
    encoding.push(next);
  };
  for (let i = 0; i < encoders.count; i++) begin();
  for (const record of plan.records.slice(done)) {
    signal?.throwIfAborted();
    const { bytes, hashes } = await encoding.shift()!;
    begin();
    await target.write(plan.shards[record.shard].file, record.from, bytes);
    await journal.add(hashes);
    report("pack", record);
  }
  return finish(target, checkpoint, plan, journal);
}

/** Reads the rows of a record and puts them into its format. */
export async function encodeRecord(record: PlannedRecord, signal?: AbortSignal): Promise<EncodedRecord> {
  signal?.throwIfAborted();
  const bytes = new Uint8Array(record.bytes);
  await Promise.all(
    record.parts.map(async ({ item, from, rows, at }) => {
      const { source, format } = item;
      const encoded = convertRows(await source.read(from, from + rows, signal), format, source.label);
      const { data, scales, scalesAt } = partLayout(format, rows, source.columns);
      bytes.set(encoded.data.subarray(0, data), at);
      if (encoded.scales) bytes.set(encoded.scales.subarray(0, scales), at + scalesAt);
    }),
  );
  return { bytes, hashes: await hashParts(record.parts, bytes) };
}

const hashParts = (parts: readonly PlannedPart[], record: Uint8Array): Promise<string[]> =>
  Promise.all(parts.map(({ at, bytes }) => sha256(record.subarray(at, at + bytes))));

async function isIntact(target: PackTarget, plan: PackPlan, record: PlannedRecord, hashes: readonly string[]) {
  const { file } = plan.shards[record.shard];
  const to = record.from + record.bytes;
  if (((await target.size(file)) ?? 0) < to) return false;
  const found = await hashParts(record.parts, await target.read(file, { from: record.from, to }));
  return found.join() === hashes.join();
}

async function finish(
  target: PackTarget,
  checkpoint: Checkpoint,
  plan: PackPlan,
  journal: Journal,
): Promise<PackManifest> {
  const { config, generationConfig, tokenizer, chatTemplate } = checkpoint;
  const texts: [string, string | undefined][] = [
    ["tokenizer.json", tokenizer && JSON.stringify(tokenizer.json)],
    ["tokenizer_config.json", tokenizer && JSON.stringify(tokenizer.config)],
    ["chat_template.jinja", chatTemplate],
  ];
  const files: PackManifest["files"][number][] = [];
  for (const [file, text] of texts) {
    if (text === undefined) continue;
    const bytes = new TextEncoder().encode(text);
    await target.replace(file, bytes);
    files.push({ file, from: 0, to: bytes.length, sha256: await sha256(bytes) });
  }
  const hashOf = new Map(
    plan.records.flatMap(({ parts }, r) =>
      parts.map(({ item, index }, p) => [`${index} ${item.name}`, journal.hashes[r][p]] as const),
    ),
  );
  const tensors = Object.fromEntries(
    Object.entries(plan.tensors).map(([name, tensor]) => {
      const parts = tensor.parts.map(([shard, from], i) => [shard, from, hashOf.get(`${i} ${name}`)!] as const);
      return [name, { ...tensor, parts }];
    }),
  );
  const manifest: PackManifest = {
    ...{ sluice: "packed", version: PACK_VERSION, config, generationConfig },
    ...{ files, shards: plan.shards, tensors },
  };
  await target.replace(MANIFEST, new TextEncoder().encode(JSON.stringify(manifest)));
  await target.remove(JOURNAL);
  return manifest;
}

/** What a run that goes on must have in common with the one that began. */
async function fingerprint({ label, config, sizeBytes }: Checkpoint, { tensors, shards }: PackPlan): Promise<string> {
  const facts = JSON.stringify([PACK_VERSION, label, config, sizeBytes, tensors, shards]);
  return sha256(new TextEncoder().encode(facts));
}

class Journal {
  readonly #target: PackTarget;
  /** Per finished record the hashes of its parts. */
  readonly hashes: string[][];
  readonly #fingerprint: string;
  #bytes = 0;

  private constructor(target: PackTarget, fingerprint: string, hashes: string[][]) {
    this.#target = target;
    this.#fingerprint = fingerprint;
    this.hashes = hashes;
  }

  static async open(target: PackTarget, fingerprint: string): Promise<Journal> {
    if ((await target.size(JOURNAL)) === undefined) return new Journal(target, fingerprint, []);
    const [first, ...lines] = new TextDecoder().decode(await target.read(JOURNAL)).split("\n");
    if (first !== fingerprint) {
      const message = `${target.label} holds an unfinished model of other weights or formats. Remove it or choose another.`;
      throw new InvalidRequestError("the folder", message);
    }
    // After the last newline comes nothing, or a line that was cut short.
    const whole = lines.slice(0, -1).map((line) => line.split(" "));
    return new Journal(target, fingerprint, whole);
  }

  /** Forgets all records but the first `count`. */
  async keep(count: number): Promise<void> {
    this.hashes.length = count;
    const text = [this.#fingerprint, ...this.hashes.map((line) => line.join(" ")), ""].join("\n");
    await this.#target.replace(JOURNAL, new TextEncoder().encode(text));
    this.#bytes = text.length;
  }

  async add(hashes: string[]): Promise<void> {
    const line = `${hashes.join(" ")}\n`;
    await this.#target.write(JOURNAL, this.#bytes, new TextEncoder().encode(line));
    this.#bytes += line.length;
    this.hashes.push(hashes);
  }
}
