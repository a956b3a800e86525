import { fileURLToPath } from "node:url";
import type { ToPage, ToWorker } from "../../src/api/port.ts";
import { ChildWorker } from "../../src/platform/node/child-worker.ts";
import type { WorkerHost } from "../../src/workers/worker-host.ts";

const script = fileURLToPath(new URL("../../dist/node/gpu-worker.js", import.meta.url));

/** Starts the built worker, again and again; knows the process that runs now. */
export class TestHost implements WorkerHost {
  readonly label: string;
  starts = 0;
  #worker: ChildWorker<ToWorker, ToPage> | undefined;

  constructor(index: number) {
    this.label = `worker ${index}`;
  }

  start(): ChildWorker<ToWorker, ToPage> {
    this.starts++;
    this.#worker = new ChildWorker({ script });
    return this.#worker;
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.#worker!.pid!, signal);
  }

  get pid(): number {
    return this.#worker!.pid!;
  }
}

export const testHosts = (count: number): TestHost[] => Array.from({ length: count }, (_, i) => new TestHost(i));
