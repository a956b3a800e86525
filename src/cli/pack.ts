import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { PackFolder } from "../platform/node/pack-folder.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { listRecords } from "../weights/packed/manifest.ts";
import { type PackItem, planPack } from "../weights/packed/plan-pack.ts";
import { encodeRecord, type PackProgress, writePack } from "../weights/packed/write-pack.ts";
import { interruptSignal } from "./interrupt.ts";
import { wholeNumber } from "./options.ts";
import { openToPack, type PackTask } from "./pack-task.ts";
import { PackThreads } from "./pack-threads.ts";
import { bytesText } from "./text.ts";

interface PackCommandOptions {
  readonly quant: (typeof FORMATS)[number];
  readonly experts?: (typeof FORMATS)[number];
  readonly synthetic?: boolean;
  readonly threads?: number;
}

const FORMATS = ["auto", "f16", "q8", "q4a", "q4"] as const;

export function addPack(program: Command): void {
  program
    .command("pack <model> <folder>")
    .description("Convert a model once into the form that devices hold, so that it loads as fast as it can be read.")
    .addOption(
      new Option("--quant <format>", "what weights become; auto keeps them as they are")
        .choices(FORMATS)
        .makeOptionMandatory(),
    )
    .addOption(
      new Option("--experts <format>", "what the routed experts become (default: as --quant says)").choices(FORMATS),
    )
    .option("--threads <count>", "threads that convert (default: as many as there are cores, up to 8)", wholeNumber(1))
    .option("--synthetic", "<model> is a published shape or a config.json; make its weights up, to measure with them")
    .addHelpText(
      "after",
      `
The folder then holds the whole model, tokenizer included, in files of at most
512 MB. Load it by its path, or put it on any web server and load it by its URL.
q4 takes 4.5 bits a weight and q4a 5, which loses about half as much; q8 takes
8.5. With all of them embedding and head take 8.5 at least, routers and gates
16, norms 32.

Packing holds a few experts in memory at a time, whatever the model's size. When
it is interrupted, the same command goes on where it stopped.

Examples:
  $ sluice pack ./Qwen3-Next-80B-A3B-Instruct ./next-80b --quant q4
  $ sluice pack ./Qwen3.5-35B-A3B ./35b --quant q8 --experts q4
  $ sluice chat ./next-80b
  $ sluice pack qwen3-next-80b-a3b ./made-up --quant q4 --synthetic
  $ sluice bench ./made-up --memory 25%`,
    )
    .action(pack);
}

async function pack(source: string, folder: string, { threads, ...options }: PackCommandOptions): Promise<void> {
  const task = { source, ...options };
  await openToPack(task, ({ checkpoint, items }) => packInto(folder, checkpoint, items, task, threads));
}

async function packInto(
  folder: string,
  checkpoint: Checkpoint,
  items: readonly PackItem[],
  task: PackTask,
  threads = checkpoint.sizeBytes < LEAST_BYTES ? 1 : Math.min(availableParallelism(), 8),
) {
  const signal = interruptSignal();
  const target = await PackFolder.create(folder);
  const { records } = planPack(items);
  const alone = (record: number) => encodeRecord(records[record], signal);
  const encoders = threads > 1 ? new PackThreads(task, threads, alone) : undefined;
  try {
    const manifest = await writePack(target, checkpoint, items, { signal, encoders, onProgress: progressLine() });
    const bytes = manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
    const count = listRecords(manifest).length;
    const files = `${manifest.shards.length} ${manifest.shards.length === 1 ? "file" : "files"}`;
    console.error(`${folder}: ${bytesText(bytes)} in ${files}, ${count} records.`);
  } catch (error) {
    if (!signal.aborted) throw error;
    console.error("\nStopped. The same command goes on from here.");
    process.exitCode = 130;
  } finally {
    await encoders?.close();
    await target.close();
  }
}

/** What one thread packs while others would still be starting. */
const LEAST_BYTES = 64e6;

/** How far it has come, in one line of the terminal; nothing elsewhere. */
function progressLine(): (progress: PackProgress) => void {
  if (!process.stderr.isTTY) return () => {};
  const start = performance.now();
  let lastMs = 0;
  let verified = 0;
  return ({ phase, doneBytes, totalBytes }) => {
    const now = performance.now();
    if (phase === "verify") verified = doneBytes;
    if (now - lastMs < 100 && doneBytes < totalBytes) return;
    lastMs = now;
    const rate = ((doneBytes - (phase === "pack" ? verified : 0)) / (now - start)) * 1000;
    const secondsLeft = Math.round((totalBytes - doneBytes) / rate);
    const verb = phase === "verify" ? "Checking what is there" : "Packing";
    const text = `${verb}: ${bytesText(doneBytes)} of ${bytesText(totalBytes)}, ${bytesText(rate)}/s, ${timeText(secondsLeft)} left`;
    process.stderr.write(doneBytes < totalBytes ? `\r\x1b[K${text}` : "\r\x1b[K");
  };
}

const timeText = (seconds: number): string =>
  seconds < 100
    ? `${seconds} s`
    : seconds < 6000
      ? `${Math.round(seconds / 60)} min`
      : `${(seconds / 3600).toFixed(1)} h`;
