import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { ToPage, ToWorker } from "../../src/api/port.ts";
import { ChildWorker } from "../../src/platform/node/child-worker.ts";
import type { WorkerHost } from "../../src/workers/worker-host.ts";

const script = fileURLToPath(new URL("../../dist/node/gpu-worker.js", import.meta.url));

/** Starts the built worker, again and again; knows the process that runs now. */
export class TestHost implements WorkerHost {
  readonly label: string;
  starts = 0;
  readonly #env: Readonly<Record<string, string>> | undefined;
  #worker: ChildWorker<ToWorker, ToPage> | undefined;

  /** With `stages`, the layers are in so many further processes. */
  constructor(index: number, stages = 1) {
    this.label = `worker ${index}`;
    const places = Array.from({ length: stages }, (_, i) => ({ label: `stage ${i}` }));
    this.#env = stages > 1 ? { SLUICE_STAGES: JSON.stringify(places) } : undefined;
  }

  start(): ChildWorker<ToWorker, ToPage> {
    this.starts++;
    this.#worker = new ChildWorker({ script, env: this.#env });
    return this.#worker;
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.#worker!.pid!, signal);
  }

  /** The processes of the stages. Linux. */
  get children(): number[] {
    return readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  }

  get pid(): number {
    return this.#worker!.pid!;
  }
}

export const testHosts = (count: number): TestHost[] => Array.from({ length: count }, (_, i) => new TestHost(i));
