import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { StageRequest, StageStarter } from "../../api/platform.ts";
import type { PortError } from "../../api/port.ts";
import type { LoadOptions, MemoryPlan, ModelInfo, ModelSource } from "../../api/types.ts";
import type { RunnerLimits } from "../../engine/runner.ts";
import { invariant, WorkerError } from "../../errors.ts";
import type { StageResult } from "../../stages/messages.ts";
import { StagedRunner } from "../../stages/staged-runner.ts";
import { ChildWorker } from "./child-worker.ts";
import { AWAKE_MS, stayAwake } from "./rest.ts";
import { listenOnce, SocketLink } from "./socket-link.ts";

/** Where a stage runs. */
export interface StagePlace {
  readonly label: string;
  readonly wrapper?: readonly string[];
  readonly adapter?: string;
  readonly memoryBytes?: number;
}

/** What the process of a stage is told. */
export type ToStage =
  | {
      readonly kind: "load";
      readonly source: ModelSource;
      readonly options: LoadOptions;
      readonly range: { readonly from: number; readonly to: number };
      readonly isLast: boolean;
      readonly usableVocabulary: number;
      /** Where it waits for the stage before. */
      readonly path: string;
      /** Where the first waits for the last, to hear at once what has been drawn. */
      readonly drawsPath?: string;
      /** While there is work, it keeps a core to itself. */
      readonly staysAwake: boolean;
    }
  /** Where the next stage waits, and where the first one does for the last. */
  | { readonly kind: "connect"; readonly path: string; readonly drawsPath?: string };

export type FromStage =
  | { readonly kind: "bytes"; readonly loaded: number }
  | {
      readonly kind: "loaded";
      readonly limits: RunnerLimits;
      readonly memory: MemoryPlan;
      readonly adapter: ModelInfo["adapter"];
    }
  | { readonly kind: "connected" }
  | { readonly kind: "error"; readonly error: PortError };

/** A stage computes with one core and the driver's threads, where there is a GPU; this process and the server want theirs too. */
const CORES_A_STAGE = 4;

type StageChild = ChildWorker<ToStage, FromStage>;

/** Stages in a process each, linked by Unix sockets: this one to the first, each to the next, the last to this one and the first. */
export const stageProcesses = (
  script: string,
  places: readonly StagePlace[],
  unpackError: (error: PortError) => Error,
): StageStarter => ({
  memoryBytes: places.map(({ memoryBytes }) => memoryBytes),

  async start(source, { options, ranges, usableVocabulary, onBytes, onCompile }: StageRequest) {
    const { onProgress, signal, hubToken, queue, ...rest } = options;
    invariant(typeof hubToken !== "function", "a token is asked for where the model is opened");
    const folder = await mkdtemp(join(tmpdir(), "sluice-stages-"));
    const paths = [...places, undefined].map((_, i) => join(folder, `${i}.sock`));
    const drawsPath = join(folder, "draws.sock");
    const children = places.map(({ wrapper }): StageChild => new ChildWorker({ script, wrapper }));
    const last = await listenOnce(paths.at(-1)!);
    const close = () => {
      last.close();
      for (const child of children) child.terminate();
      void rm(folder, { recursive: true, force: true });
    };
    const staysAwake = availableParallelism() > CORES_A_STAGE * places.length;
    let runner: StagedRunner | undefined;
    const failed = new Promise<never>((_, reject) => {
      const fail = (error: Error) => {
        reject(error);
        runner?.lose(error.message);
      };
      for (const [i, child] of children.entries()) {
        const died = ({ message }: { message: string }) => fail(new WorkerError(`${places[i].label}: ${message}`));
        child.addEventListener("error", died);
        child.addEventListener("message", ({ data }: { data: FromStage }) => {
          if (data.kind === "error") fail(unpackError(data.error));
        });
      }
      signal?.addEventListener("abort", () => !runner && reject(signal.reason));
    });
    failed.catch(() => {});
    try {
      signal?.throwIfAborted();
      const bytes = places.map(() => 0);
      const loaded = children.map((child, i) => {
        child.addEventListener("message", ({ data }: { data: FromStage }) => {
          if (data.kind !== "bytes") return;
          bytes[i] = data.loaded;
          onBytes(bytes.reduce((a, b) => a + b, 0));
        });
        const device = { ...rest.device, adapter: places[i].adapter ?? rest.device?.adapter };
        const isLast = i === children.length - 1;
        const waits = { path: paths[i], drawsPath: i === 0 ? drawsPath : undefined };
        const facts = { source, range: ranges[i], isLast, usableVocabulary, staysAwake, ...waits };
        child.postMessage({ kind: "load", options: { ...rest, hubToken, device }, ...facts });
        return next(child, "loaded");
      });
      const stages = await Promise.race([Promise.all(loaded), failed]);
      onCompile();
      const connected = children.map((child, i) => {
        const isLast = i === children.length - 1;
        child.postMessage({ kind: "connect", path: paths[i + 1], drawsPath: isLast ? drawsPath : undefined });
        return next(child, "connected");
      });
      await Promise.race([Promise.all(connected), failed]);
      const lose = (reason: string) => runner?.lose(reason);
      const receive = (result: StageResult) => {
        if (staysAwake) stayAwake(AWAKE_MS);
        runner?.receive(result);
      };
      const out = new SocketLink(await last.socket, receive, lose);
      const first = connect(paths[0]);
      await Promise.race([new Promise((resolve) => first.once("connect", resolve)), failed]);
      const into = new SocketLink(first, () => {}, lose);
      // Whoever had to has found the others.
      await rm(folder, { recursive: true, force: true });
      const started = new StagedRunner({
        stages: children.length,
        limits: stages[0].limits,
        memory: sumPlans(stages.map(({ memory }) => memory)),
        send: (message) => into.send(message),
        close: () => {
          into.close();
          out.close();
          close();
        },
      });
      runner = started;
      return { runner: started, adapter: stages[0].adapter };
    } catch (error) {
      close();
      throw error;
    }
  },
});

/** The next message of a kind. */
function next<K extends FromStage["kind"]>(child: StageChild, kind: K): Promise<Extract<FromStage, { kind: K }>> {
  return new Promise((resolve) => {
    child.addEventListener("message", ({ data }: { data: FromStage }) => {
      if (data.kind === kind) resolve(data as Extract<FromStage, { kind: K }>);
    });
  });
}

function sumPlans(plans: readonly MemoryPlan[]): MemoryPlan {
  const sum = (part: keyof MemoryPlan) => plans.reduce((total, plan) => total + plan[part], 0);
  return {
    weights: sum("weights"),
    kvCache: sum("kvCache"),
    recurrentState: sum("recurrentState"),
    snapshots: sum("snapshots"),
    scratch: sum("scratch"),
    other: sum("other"),
    total: sum("total"),
  };
}
