import { parentPort, workerData } from "node:worker_threads";
import { openToPack, type PackTask } from "./cli/pack-task.ts";
import { planPack } from "./weights/packed/plan-pack.ts";
import { encodeRecord } from "./weights/packed/write-pack.ts";

const port = parentPort!;

await openToPack(workerData as PackTask, async ({ items }) => {
  const { records } = planPack(items);
  port.on("message", async (record: number) => {
    const encoded = await encodeRecord(records[record]).catch(() => undefined);
    port.postMessage(encoded, encoded ? [encoded.bytes.buffer as ArrayBuffer] : []);
  });
  // Until the thread is ended from outside.
  await new Promise(() => {});
});
