import type { Link } from "../companion/link.ts";
import { NO_SUMS } from "../companion/remote-engine.ts";
import { RemoteLayers } from "../companion/remote-layers.ts";
import { CompanionError, InvalidRequestError } from "../errors.ts";
import { ScratchArena } from "../gpu/scratch.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import { type LoadRunnerOptions, ModelRunner } from "../runner/model-runner.ts";
import { pagedSources } from "../runner/paged-experts.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { DrawGate, drawsOf } from "../stages/draw-gate.ts";
import type { StageMessage, StageResult } from "../stages/messages.ts";
import { expertsWithin, layersWithin, type PageStage, pageStages } from "../stages/page-layers.ts";
import { Stage } from "../stages/stage.ts";
import { StagedRunner } from "../stages/staged-runner.ts";
import type { WeightSource } from "../weights/format.ts";
import { loadWeight } from "../weights/load.ts";
import { companionOptions } from "./companion-options.ts";
import type { Lean } from "./lean.ts";
import { openDevice } from "./open-device.ts";
import type { RunnerRequest, StartedRunner } from "./start-runner.ts";
import { storedBytes } from "./stored-bytes.ts";
import type { MemoryPlan } from "./types.ts";

/** What a frame has beside rows. */
const HEADER_BYTES = 2 ** 17;

export interface StartedLayers extends StartedRunner<StagedRunner> {
  readonly layers: { readonly here: number; readonly there: number };
}

/**
 * The first layers and the drawing of tokens on this device, and what lies between at the other end of a link: a chain of
 * three stages. @throws CompanionError
 */
export async function startLayers(
  { platform, sources, runnerOptions: given, options: wanted, progress, onDispose }: RunnerRequest,
  { link, choice }: Pick<Lean, "link" | "choice">,
): Promise<StartedLayers> {
  const { memory: budget, companion, signal } = wanted;
  const { device, kvFormat, adapter } = await openDevice(platform, wanted.device);
  const runners: ModelRunner[] = [];
  try {
    const options = { ...given, kvFormat, maxBatchTokens: batchTokens(given, link) };
    await fetchKernels(device.profile, options);
    const all = sources.layers.length;
    const asked = companionOptions(companion!).layers;
    if (asked !== undefined && asked >= all) {
      throw new InvalidRequestError("companion.layers", `of ${all} layers, ${all - 1} can run here at most.`);
    }
    const here = asked ?? choice?.here ?? layersWithin(budget, sources, device.profile, options);
    const stages = pageStages(sources, options, here);
    const expertSlots = asked === undefined ? choice?.expertSlots : expertsWithin(budget, stages, device.profile);
    const isPaged = expertSlots !== undefined;
    const paged = isPaged ? pagedSources(stages[0].sources) : undefined;
    progress.start(stages.reduce((sum, stage) => sum + storedBytes(stage.sources, paged), 0));
    let loaded = 0;
    const load = async ({ sources, options }: PageStage, more: Partial<LoadRunnerOptions> = {}) => {
      const before = loaded;
      const onBytes = (bytes: number) => {
        loaded = before + bytes;
        progress.report("weights", loaded);
      };
      runners.push(await ModelRunner.load(sources, { ...options, ...more, device, onBytes, signal, loadWeight: once }));
      return runners.at(-1)!;
    };
    const once = onlyOnce();
    const [before, after] = [
      await load(stages[0], { expertSlots, onDispose }),
      // While the first layers wait for experts, their scratch is in use.
      await load(stages[1], { scratch: isPaged ? new ScratchArena(device.gpu) : undefined }),
    ];
    progress.report("compile");

    const deliver = (result: StageMessage) => {
      if (device.lost) runner.lose(device.lost);
      const draws = drawsOf(result);
      if (draws) gate.know(draws);
      runner.receive(result as StageResult);
    };
    const last = new Stage(after, true, deliver);
    const between = await RemoteLayers.open(
      link,
      { from: here, to: all, ...statesOf(options) },
      (message) => (isResult(message) ? deliver(message) : last.receive(message)),
      (error) => runner.lose(error),
    );
    const first = new Stage(before, false, (message) => between.receive(message));
    const gate: DrawGate = new DrawGate((message) => first.receive(message));
    const runner: StagedRunner = new StagedRunner({
      stages: 3,
      limits: before.limits,
      memory: sumPlans(before.memory, after.memory, !isPaged),
      get paging() {
        return before.paging;
      },
      get companion() {
        return { state: link.state, ...link.counts, sums: NO_SUMS, passes: { ...between.passes } };
      },
      send: (message) => gate.receive(message),
      close: () => {
        link.close();
        for (const stage of runners) stage.dispose();
      },
    });
    return { runner, options, adapter, layers: { here, there: all - here } };
  } catch (error) {
    for (const stage of runners) stage.dispose();
    device.dispose();
    throw error;
  }
}

/** Rows of a step: as many as the companion takes at once, in one frame. */
function batchTokens({ maxBatchTokens }: Omit<RunnerOptions, "kvFormat">, { welcome }: Link): number {
  if (!welcome.layers) {
    const why = welcome.lacks ? `: ${welcome.lacks}` : "";
    throw new CompanionError("model", `This companion runs no layers for others${why}. Try mode "requests".`);
  }
  const { maxBatchTokens: most, hidden } = welcome.layers;
  return Math.min(maxBatchTokens, most, Math.floor((welcome.maxFrameBytes - HEADER_BYTES) / (4 * hidden)));
}

function statesOf({
  maxContext,
  maxBatchTokens,
  maxSequences = 1,
  snapshots,
  cacheTokens = maxContext,
}: RunnerOptions) {
  return { maxContext, maxBatchTokens, maxSequences, snapshots, cacheTokens };
}

const isResult = ({ kind }: StageMessage) => kind === "drawn" || kind === "failed";

/** Where embeddings are tied, both stages have the same. */
function onlyOnce(): typeof loadWeight {
  const known = new Map<WeightSource, ReturnType<typeof loadWeight>>();
  return (source, options) => {
    const loading = known.get(source) ?? loadWeight(source, options);
    known.set(source, loading);
    return loading;
  };
}

function sumPlans(a: MemoryPlan, b: MemoryPlan, sharesScratch: boolean): MemoryPlan {
  const scratch = sharesScratch ? Math.max(a.scratch, b.scratch) : a.scratch + b.scratch;
  const sum = (part: "weights" | "kvCache" | "recurrentState" | "snapshots" | "other") => a[part] + b[part];
  const plan = {
    weights: sum("weights"),
    kvCache: sum("kvCache"),
    recurrentState: sum("recurrentState"),
    snapshots: sum("snapshots"),
    scratch,
    other: sum("other"),
  };
  return { ...plan, total: Object.values(plan).reduce((total, bytes) => total + bytes, 0) };
}
