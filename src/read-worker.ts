import { createHash } from "node:crypto";
import { openSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import type { ReadAnswer, ReadTask } from "./platform/node/read-threads.ts";

const port = parentPort!;
/** Closed with the thread. */
const files = new Map<string, number>();

port.on("message", ({ id, path, ranges, memory }: ReadTask) => {
  const answer: ReadAnswer = { id, memory, hashes: readAndHash(path, ranges, memory) };
  port.postMessage(answer, [memory]);
});

/** Whoever asked reads again by itself where this fails, and says what is wrong. */
function readAndHash(path: string, ranges: ReadTask["ranges"], memory: ArrayBuffer): string[] | undefined {
  try {
    const file = files.get(path) ?? openSync(path, "r");
    files.set(path, file);
    return ranges.map(({ from, to, at }) => {
      const bytes = new Uint8Array(memory, at, to - from);
      for (let done = 0; done < bytes.length; ) {
        const count = readSync(file, bytes, done, bytes.length - done, from + done);
        if (count === 0) throw new Error("the file is too short");
        done += count;
      }
      return createHash("sha256").update(bytes).digest("hex");
    });
  } catch {
    return undefined;
  }
}
