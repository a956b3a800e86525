import type { LanguageModel, ModelInfo } from "sluice";

export type Stats = Awaited<ReturnType<LanguageModel["stats"]>>;

/** What is done on this device, and what by the companion. */
export interface Places {
  readonly here: string;
  readonly there: string;
}

export function placesOf({ layers, companion }: ModelInfo, stats: Stats | undefined): Places {
  const count = layers.delta + layers.attention;
  const { slots = 0, experts = 0 } = stats?.paging ?? {};
  if (!companion || companion.mode === "none" || stats?.companion?.state === "replaced") {
    return { here: `All ${count} layers`, there: "Nothing" };
  }
  const { mode } = companion;
  if (mode === "requests") return { here: "Text, tokens, tools", there: `All ${count} layers` };
  if (mode === "layers") {
    const { here = 0, there = count - here } = companion.layers ?? {};
    return { here: here === 1 ? "The first layer" : `The first ${here} layers`, there: `The other ${there} layers` };
  }
  return slots > 0
    ? { here: `${count} layers, ${slots} experts each`, there: `The other ${experts - slots} experts` }
    : { here: `${count} layers but for experts`, there: "All experts" };
}

/** What a model has done up to some time. */
export interface Look {
  readonly ms: number;
  readonly stats: Stats;
}

/** Tokens a second of all, and that each part alone would make. */
export interface PartSpeeds {
  readonly together: number;
  readonly here: number;
  /** Its work and the way there; undefined where it was not waited for. */
  readonly there: number | undefined;
}

/** Of the tokens drawn between two looks; what waits for the companion does nothing else. */
export function speedsBetween(from: Look, to: Look): PartSpeeds | undefined {
  const tokens = to.stats.tokens.reply - from.stats.tokens.reply;
  if (tokens <= 0) return undefined;
  const waited = ({ stats: { companion } }: Look) => (companion?.sums.waitMs ?? 0) + (companion?.passes?.waitMs ?? 0);
  const [ms, waitMs] = [to.ms - from.ms, waited(to) - waited(from)];
  return {
    together: (1000 * tokens) / ms,
    here: (1000 * tokens) / Math.max(ms - waitMs, 1),
    there: waitMs > 0 ? (1000 * tokens) / waitMs : undefined,
  };
}
