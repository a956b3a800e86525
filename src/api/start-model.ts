import type { RemoteExperts } from "../companion/remote-experts.ts";
import { Engine } from "../engine/engine.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import { expertShape } from "../runner/paged-experts.ts";
import { describe, describeElsewhere } from "./describe-model.ts";
import type { Lean } from "./lean.ts";
import type { LoadProgress } from "./load-progress.ts";
import type { ModelEngine, ModelHost } from "./model-host.ts";
import type { OpenedModel } from "./open-model.ts";
import type { Platform } from "./platform.ts";
import { type RunnerRequest, startRunner } from "./start-runner.ts";
import type { LoadOptions, ModelInfo, ModelSource } from "./types.ts";

/** What all ways to start a model begin with. */
export interface Loading {
  readonly platform: Platform;
  readonly source: ModelSource;
  readonly options: LoadOptions;
  readonly progress: LoadProgress;
  readonly opened: OpenedModel;
  readonly runnerOptions: Omit<RunnerOptions, "kvFormat">;
  readonly sampling: ModelInfo["sampling"];
  readonly fingerprint: string;
  /** The same model without a companion. */
  readonly alone: () => Promise<{ readonly engine: ModelEngine }>;
  /** Called when the model needs its files no more, which it kept. */
  readonly closeFiles: () => void;
}

export interface StartedModel extends Omit<ModelHost, "fingerprint"> {
  /** The files stay in use, and whoever uses them closes them. */
  readonly keepsFiles: boolean;
}

/** Starts a model on this device, on a companion, or partly on each. What fails leaves the companion's link closed. */
export async function startModel(loading: Loading, lean?: Lean): Promise<StartedModel> {
  try {
    if (lean?.mode === "requests") return await startElsewhere(loading, lean);
    if (lean?.mode === "layers") return await startInParts(loading, lean);
    return await startHere(loading, lean);
  } catch (error) {
    lean?.link.close();
    throw error;
  }
}

async function startElsewhere(loading: Loading, lean: Lean): Promise<StartedModel> {
  const { RemoteEngine } = await import("../companion/remote-engine.ts");
  const engine = await withFallback(new RemoteEngine(lean.link), loading, lean);
  return { engine, info: describeElsewhere(loading, lean), keepsFiles: false };
}

async function startInParts(loading: Loading, lean: Lean): Promise<StartedModel> {
  const { startLayers } = await import("./start-layers.ts");
  const started = await startLayers(requestOf(loading), lean);
  const { runner, layers } = started;
  const engine = await withFallback(new Engine(runner, loading.options.queue), loading, lean);
  const info = { ...describe(loading, started), companion: { ...lean.info, layers } };
  return { engine, info, keepsFiles: runner.paging !== undefined };
}

async function startHere(loading: Loading, lean: Lean | undefined): Promise<StartedModel> {
  const { platform, source, options, closeFiles } = loading;
  const { cacheHostBytes } = options;
  const companion = lean && (await remoteExperts(loading, lean));
  const onDispose = () => {
    closeFiles();
    companion?.dispose();
  };
  const started = await startRunner(source, { ...requestOf(loading), companion, onDispose });
  const { runner } = started;
  try {
    const engine = new Engine(runner, options.queue, cacheHostBytes);
    const info = { ...describe(loading, started), cacheHostBytes, companion: lean?.info };
    const { experts, layers, paging } = runner;
    const lacks = paging ? "its server reads its experts when they are needed" : stagesText(platform);
    return { engine, info, experts, layers, lacks, keepsFiles: paging !== undefined };
  } catch (error) {
    runner.dispose();
    throw error;
  }
}

function requestOf({ opened, closeFiles, ...loading }: Loading): RunnerRequest {
  const { sources, loadWeight } = opened;
  return { ...loading, sources, loadWeight, onDispose: closeFiles };
}

const stagesText = ({ stages }: Platform): string | undefined =>
  stages && `its layers are in ${stages.memoryBytes.length} processes, a GPU each`;

/** An engine that leans on a companion, and this device where that is gone. */
async function withFallback(engine: ModelEngine, { alone }: Loading, { fallback }: Lean): Promise<ModelEngine> {
  if (!fallback) return engine;
  const { FailoverEngine } = await import("../companion/failover-engine.ts");
  return new FailoverEngine(engine, async () => (await alone()).engine);
}

async function remoteExperts({ opened }: Loading, { link, fallback }: Lean): Promise<RemoteExperts> {
  const { RemoteExperts } = await import("../companion/remote-experts.ts");
  return new RemoteExperts(link, expertShape(opened.sources)!, !fallback);
}
