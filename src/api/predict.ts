import type { LinkSpeed } from "../companion/measure-link.ts";
import type { Welcome } from "../companion/protocol.ts";
import { InvalidRequestError, OutOfMemoryError } from "../errors.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { expectedHitRate } from "../paging/hit-rates.ts";
import { slotsWithin } from "../runner/expert-budget.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import { sparseLayers } from "../runner/paged-experts.ts";
import { type DeviceSpeed, probeSpeed } from "../runner/probe-speed.ts";
import { layersWithin } from "../stages/page-layers.ts";
import { dataBytes, type WeightSource } from "../weights/format.ts";
import { planWeight, weightBytes } from "../weights/load.ts";
import { openDevice } from "./open-device.ts";
import type { Platform } from "./platform.ts";
import type { CompanionInfo, LoadOptions } from "./types.ts";

/** What a way to write tokens depends on. */
export interface Facts {
  readonly device: DeviceSpeed;
  readonly link: LinkSpeed;
  readonly host: Pick<Welcome, "tokensPerSecond" | "sumMs" | "layers">;
  readonly layers: number;
  /** Layers that this device runs if it leaves the others. */
  readonly here: number | undefined;
  /** Of each sparse layer; 0 layers where there are none. */
  readonly sparse: {
    readonly layers: number;
    readonly experts: number;
    readonly topK: number;
    readonly hidden: number;
  };
  /** Elements of weights in one expert. */
  readonly expertElements: number;
  readonly expertBytes: number;
  /** Experts of a layer that this device holds if it shares the others, and if it reads them; undefined where it cannot. */
  readonly sharedSlots: number | undefined;
  readonly pagedSlots: number | undefined;
  /** Of the store that experts are read from. */
  readonly storeBytesPerSecond: number;
}

/** Bytes of a frame beside its numbers, of a step's there and back, and of a token's. */
const FRAME_BYTES = 120;
const STEP_BYTES = 350;
const TOKEN_BYTES = 200;

/** Tokens a second of each way that is possible. */
export function foretell(facts: Facts): CompanionInfo["predicted"] {
  const { device, link, host, layers, here, sparse, sharedSlots, pagedSlots } = facts;
  const aloneMs = layers * device.layerMs + device.headMs + device.readMs;
  /** With some of the experts elsewhere. */
  const workMs = (experts: number) =>
    aloneMs - (sparse.layers * (sparse.topK - experts) * facts.expertElements) / device.elementsPerMs;
  const predicted: { -readonly [way in keyof CompanionInfo["predicted"]]: number } = {};
  if (pagedSlots !== undefined) {
    const isWhole = pagedSlots >= sparse.experts;
    const hitRate = isWhole ? 1 : expectedHitRate(pagedSlots / sparse.experts);
    const readMs = (1000 * sparse.topK * (1 - hitRate) * facts.expertBytes) / facts.storeBytesPerSecond;
    predicted.none = 1000 / (aloneMs + sparse.layers * (readMs + (isWhole ? 0 : device.readMs)));
  }
  if (sharedSlots !== undefined && host.sumMs !== undefined && sparse.layers > 0) {
    // What stays in its slots is found less often than what comes and goes.
    const share = sharedSlots / sparse.experts;
    const bytes = 4 * (2 * sparse.hidden + 2 * sparse.topK) + 2 * FRAME_BYTES;
    const wayMs = link.latencyMs + (1000 * bytes) / link.bytesPerSecond + host.sumMs;
    const asks = 1 - share ** sparse.topK;
    predicted.experts = 1000 / (workMs(sparse.topK * share) + sparse.layers * (device.readMs + asks * wayMs));
  }
  if (here !== undefined && host.layers) {
    const bytes = 4 * 2 * host.layers.hidden + STEP_BYTES;
    const there = (layers - here) / layers;
    const wayMs = link.latencyMs + (1000 * bytes) / link.bytesPerSecond + there * host.layers.passMs;
    predicted.layers = 1000 / (here * device.layerMs + device.headMs + 2 * device.readMs + wayMs);
  }
  predicted.requests = Math.min(host.tokensPerSecond, link.bytesPerSecond / TOKEN_BYTES);
  return predicted;
}

/** The same for a model, a device, a store and a link, which are measured for it. */
export async function predict(
  platform: Platform,
  sources: ModelWeights<WeightSource>,
  runnerOptions: Omit<RunnerOptions, "kvFormat">,
  options: LoadOptions,
  host: Welcome,
  link: LinkSpeed,
): Promise<CompanionInfo["predicted"]> {
  const opened = await openDevice(platform, options.device).catch(() => undefined);
  // Without a device of one's own there is one way.
  if (!opened) return { requests: host.tokensPerSecond };
  const { device, kvFormat } = opened;
  try {
    const { profile } = device;
    const planned = { ...runnerOptions, kvFormat };
    const slots = (sharesExperts: boolean) =>
      unlessTooMuch(() => {
        const within = slotsWithin(options.memory, sources, profile, { ...planned, sharesExperts });
        return within ?? Number.POSITIVE_INFINITY;
      });
    const here = unlessTooMuch(() => layersWithin(options.memory, sources, profile, planned));
    const layers = sparseLayers(sources);
    const expert = layers[0] && [layers[0].gateUp, layers[0].down];
    const perExpert = (size: (source: WeightSource) => number) =>
      expert ? expert.reduce((sum, source) => sum + size(source), 0) / layers[0].experts : 0;
    return foretell({
      device: await probeSpeed(device, sources, planned),
      link,
      host,
      layers: sources.layers.length,
      here,
      sparse: {
        layers: layers.length,
        experts: layers[0]?.experts ?? 0,
        topK: layers[0]?.topK ?? 0,
        hidden: sources.finalNorm.weight.rows * sources.finalNorm.weight.columns,
      },
      expertElements: perExpert(({ rows, columns }) => rows * columns),
      expertBytes: perExpert((source) => weightBytes(planWeight(source, runnerOptions.quantization))),
      sharedSlots: options.memory === undefined ? 0 : slots(true),
      pagedSlots: slots(false),
      storeBytesPerSecond: expert ? await storeSpeed(expert, layers[0].experts) : Number.POSITIVE_INFINITY,
    });
  } finally {
    device.dispose();
  }
}

/** Undefined where there is no room for it, or nothing to leave. */
function unlessTooMuch<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof OutOfMemoryError || error instanceof InvalidRequestError) return undefined;
    throw error;
  }
}

/** From reading some experts as they are read when they are missing. */
async function storeSpeed(matrices: readonly WeightSource[], experts: number): Promise<number> {
  const startMs = performance.now();
  let bytes = 0;
  const count = Math.min(4, experts);
  await Promise.all(
    Array.from({ length: count }, (_, expert) =>
      matrices.map(async ({ rows, columns, format, read }, i) => {
        const each = rows / experts;
        await read.call(matrices[i], expert * each, (expert + 1) * each);
        bytes += dataBytes(format, each * columns);
      }),
    ).flat(),
  );
  return (1000 * bytes) / Math.max(performance.now() - startMs, 0.1);
}
