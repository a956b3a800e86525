import { median } from "../common/typical-ms.ts";
import type { AnswerTimes } from "../companion/measure-answers.ts";
import type { LinkSpeed } from "../companion/measure-link.ts";
import type { Welcome } from "../companion/protocol.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { ExpertReader } from "../paging/expert-reader.ts";
import { slotsWithin } from "../runner/expert-budget.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import { pagedSources, sparseLayers } from "../runner/paged-experts.ts";
import { probePaging } from "../runner/probe-paging.ts";
import { probeSpeed } from "../runner/probe-speed.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { layerChoices, unlessTooMuch } from "../stages/page-layers.ts";
import type { WeightSource } from "../weights/format.ts";
import { planWeight, weightBytes } from "../weights/load.ts";
import type { Doubts } from "./choose-way.ts";
import { type Facts, type Foretold, foretell } from "./foretell.ts";
import { openDevice } from "./open-device.ts";
import type { Platform } from "./platform.ts";
import { storedBytes } from "./stored-bytes.ts";
import type { LoadOptions } from "./types.ts";

/** What each way promises, and how sure that is. */
export interface Prediction extends Foretold {
  readonly doubts: Doubts;
}

/** What a companion and the way there take, as it was measured. */
export interface Reached {
  readonly welcome: Welcome;
  readonly speed: LinkSpeed & AnswerTimes;
  /** No token may go there. */
  readonly isPrivate: boolean;
}

const DOUBT = 1.3;

/** Loading for a trial alone may take so long; where it takes longer, a promise is believed. */
const TRIAL_MS = 5000;

/** A server has measured itself once, and may have been busy; to ask it again takes no loading. */
const HOST_DOUBT = 2;

/** What a page can expect of a model, a device, a store and a companion, which are measured for it. */
export async function predict(
  platform: Platform,
  sources: ModelWeights<WeightSource>,
  runnerOptions: Omit<RunnerOptions, "kvFormat">,
  options: LoadOptions,
  { welcome, speed, isPrivate }: Reached,
): Promise<Prediction> {
  const hostTokensPerSecond = isPrivate ? undefined : welcome.tokensPerSecond;
  const opened = await openDevice(platform, options.device).catch((error) => {
    // Without a device of one's own there is one way.
    if (isPrivate) throw error;
    return undefined;
  });
  if (!opened) return { predicted: { requests: welcome.tokensPerSecond }, choice: undefined, doubts: {} };
  const { device, kvFormat } = opened;
  try {
    const { profile } = device;
    const planned = { ...runnerOptions, kvFormat };
    await fetchKernels(profile, planned);
    const slots = (sharesExperts: boolean) =>
      unlessTooMuch(() => {
        const within = slotsWithin(options.memory, sources, profile, { ...planned, sharesExperts });
        return within ?? Number.POSITIVE_INFINITY;
      });
    const layers = sparseLayers(sources);
    const expert = layers[0] && [layers[0].gateUp, layers[0].down];
    const perExpert = (size: (source: WeightSource) => number) =>
      expert ? expert.reduce((sum, source) => sum + size(source), 0) / layers[0].experts : 0;
    const sparse = { layers: layers.length, experts: layers[0]?.experts ?? 0, topK: layers[0]?.topK ?? 0 };
    const storeBytesPerSecond = expert ? await storeSpeed(layers) : Number.POSITIVE_INFINITY;
    const facts: Facts = {
      device: await probeSpeed(device, sources, planned),
      link: speed,
      hostTokensPerSecond,
      layers: sources.layers.length,
      choices: layerChoices(options.memory, sources, profile, planned),
      sparse,
      expertElements: perExpert(({ rows, columns }) => rows * columns),
      expertBytes: perExpert((source) => weightBytes(planWeight(source, runnerOptions.quantization))),
      sharedSlots: options.memory === undefined ? 0 : slots(true),
      pagedSlots: slots(false),
      storeBytesPerSecond,
    };
    const loadMs = (1000 * storedBytes(sources, pagedSources(sources))) / storeBytesPerSecond;
    const doubt = loadMs <= TRIAL_MS ? DOUBT : 1;
    const doubts = { none: doubt, experts: doubt, layers: doubt, requests: HOST_DOUBT };
    const least = foretell(facts);
    const expertSlots = pagedIn(facts, least);
    if (expertSlots === undefined) return { ...least, doubts };
    const { passMs, layers: count } = await probePaging(device, sources, { ...planned, expertSlots });
    const layerMs = Math.max(passMs - facts.device.readMs, 1e-3) / count;
    return { ...foretell({ ...facts, paged: { slots: expertSlots, layerMs } }), doubts };
  } finally {
    device.dispose();
  }
}

/** A way that promises so many times less at best is not worth reading experts for. */
const FAR = 4;

/** With how many experts a layer is to be probed: undefined where all are there, or where that is of no use. */
function pagedIn({ pagedSlots = 0, sparse }: Facts, { predicted, choice }: Foretold): number | undefined {
  const isPaged = pagedSlots > 0 && pagedSlots < sparse.experts;
  const [slots, most = 0] = isPaged ? [pagedSlots, predicted.none] : [choice?.expertSlots, predicted.layers];
  return FAR * most < Math.max(...Object.values(predicted)) ? undefined : slots;
}

/** Experts that a layer lacks at once, and how often they are read. */
const READ_AT_ONCE = 4;
const READINGS = 5;
/** Fewer where reading is slow. */
const ENOUGH_MS = 1000;

/** From reading some experts as they are read when they are missing, others each time. */
async function storeSpeed(layers: ReturnType<typeof sparseLayers<WeightSource>>): Promise<number> {
  const matrices = layers.map(({ gateUp, down, experts }) =>
    [gateUp, down].map((source) => ({ source, rows: source.rows / experts, format: source.format })),
  );
  const reader = new ExpertReader(matrices);
  const rates: number[] = [];
  const endMs = performance.now() + ENOUGH_MS;
  for (let reading = 0; reading < READINGS && (reading === 0 || performance.now() < endMs); reading++) {
    const layer = reading % layers.length;
    const { experts } = layers[layer];
    const count = Math.min(READ_AT_ONCE, experts);
    const startMs = performance.now();
    let bytes = 0;
    await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const expert = (reading * count + i * Math.ceil(experts / count)) % experts;
        for (const { data, scales, release } of await reader.read(layer, expert)) {
          bytes += data.byteLength + (scales?.byteLength ?? 0);
          release?.();
        }
      }),
    );
    rates.push((1000 * bytes) / Math.max(performance.now() - startMs, 0.01));
  }
  return median(rates);
}
