import type { AnswerTimes } from "../companion/measure-answers.ts";
import type { LinkSpeed } from "../companion/measure-link.ts";
import { expectedHitRate } from "../paging/hit-rates.ts";
import type { DeviceSpeed } from "../runner/probe-speed.ts";
import type { LayerChoice } from "../stages/page-layers.ts";
import type { Speeds } from "./choose-way.ts";

/** What a way to write tokens depends on. */
export interface Facts {
  readonly device: DeviceSpeed;
  /** A layer that holds so many of its experts, and reads the others, where that was measured. */
  readonly paged?: { readonly slots: number; readonly layerMs: number };
  readonly link: LinkSpeed & AnswerTimes;
  /** Undefined where no token may go there. */
  readonly hostTokensPerSecond: number | undefined;
  readonly layers: number;
  /** How many of them this device could run if it leaves the others. */
  readonly choices: readonly LayerChoice[];
  /** Of each sparse layer; 0 layers where there are none. */
  readonly sparse: { readonly layers: number; readonly experts: number; readonly topK: number };
  /** Elements of weights in one expert. */
  readonly expertElements: number;
  readonly expertBytes: number;
  /** Experts of a layer that this device holds if it shares the others, and if it reads them; undefined where it cannot. */
  readonly sharedSlots: number | undefined;
  readonly pagedSlots: number | undefined;
  /** Of the store that experts are read from, as many at once as a layer lacks. */
  readonly storeBytesPerSecond: number;
}

export interface Foretold {
  /** Tokens a second of each way that is possible. */
  readonly predicted: Speeds;
  /** The layers that make the most of leaving some. */
  readonly choice: LayerChoice | undefined;
}

/** Bytes of a token that a companion has drawn, on its way here. */
const TOKEN_BYTES = 200;

/** What each way promises. */
export function foretell(facts: Facts): Foretold {
  const { hostTokensPerSecond: there, link, choices } = facts;
  const layersMs = (choice: LayerChoice) => msWithLayersElsewhere(facts, choice);
  const choice = link.passMs === undefined ? undefined : choices.toSorted((a, b) => layersMs(a) - layersMs(b))[0];
  const ms = {
    none: msAlone(facts),
    experts: msWithExpertsElsewhere(facts),
    layers: choice && layersMs(choice),
    requests: there === undefined ? undefined : Math.max(1000 / there, (1000 * TOKEN_BYTES) / link.bytesPerSecond),
  };
  const possible = Object.entries(ms).filter(([, tokenMs]) => tokenMs !== undefined);
  return { predicted: Object.fromEntries(possible.map(([way, tokenMs]) => [way, 1000 / tokenMs!])), choice };
}

function msAlone(facts: Facts): number | undefined {
  const { device, layers, pagedSlots } = facts;
  if (pagedSlots === undefined) return undefined;
  return layers * layerMs(facts, pagedSlots) + device.headMs + device.readMs;
}

function msWithExpertsElsewhere(facts: Facts): number | undefined {
  const { device, link, layers, sparse, sharedSlots } = facts;
  if (sharedSlots === undefined || link.sumMs === undefined || sparse.layers === 0) return undefined;
  // What stays in its slots is found less often than what comes and goes.
  const share = Math.min(1, sharedSlots / sparse.experts);
  const lessMs = Math.min(device.layerMs, (sparse.topK * (1 - share) * facts.expertElements) / device.elementsPerMs);
  const askMs = device.readMs + (1 - share ** sparse.topK) * link.sumMs;
  return layers * device.layerMs + device.headMs + device.readMs + sparse.layers * (askMs - lessMs);
}

function msWithLayersElsewhere(facts: Facts, { here, expertSlots }: LayerChoice): number {
  const { device, link, layers } = facts;
  const thereMs = (link.passMs! - link.latencyMs) * (1 - here / layers);
  return here * layerMs(facts, expertSlots) + device.headMs + 2 * device.readMs + link.latencyMs + thereMs;
}

/** One token in a layer that holds so many of its experts. */
function layerMs({ device, paged, layers, sparse, ...facts }: Facts, slots = sparse.experts): number {
  if (slots >= sparse.experts) return device.layerMs;
  const misses = (slots: number) => sparse.topK * (1 - expectedHitRate(slots / sparse.experts));
  // What a layer loses by not being whole goes with what it misses.
  if (paged) return device.layerMs + (paged.layerMs - device.layerMs) * (misses(slots) / misses(paged.slots));
  // The least that it can be.
  const readMs = (1000 * misses(slots) * facts.expertBytes) / facts.storeBytesPerSecond;
  return device.layerMs + (sparse.layers / layers) * (device.readMs + readMs);
}
