import type { CompanionMode } from "./types.ts";

/** What a companion does, or that it does nothing. */
export type Way = CompanionMode | "none";

/** Tokens a second. */
export type Speeds = Readonly<Partial<Record<Way, number>>>;

/** How many times more than it promises a way may give. */
export type Doubts = Readonly<Partial<Record<Way, number>>>;

/** From what leaves most of the work here to what leaves least. */
const WAYS = ["none", "experts", "layers", "requests"] as const;

/** Trials that differ by less say nothing: on a machine that does something else, too, the next ones differ as much. */
const CLOSE = 0.9;

/**
 * The way to take if it has been tried, else to be tried next. A way that was tried counts as what it gave, the others as
 * what they promise and so many times that as `doubts` says, since promises may be too low as well as too high. Between trials
 * that are close the promises decide.
 */
export function chooseWay(predicted: Speeds, tried: Speeds, doubts: Doubts = {}): Way {
  const promise = (way: Way) => predicted[way] ?? 0;
  const worth = (way: Way) => tried[way] ?? (doubts[way] ?? 1) * promise(way);
  const possible = WAYS.filter((way) => predicted[way] !== undefined).sort((a, b) => worth(b) - worth(a));
  const [best] = possible;
  if (tried[best] === undefined) return best;
  const close = possible.filter((way) => tried[way] !== undefined && tried[way] >= CLOSE * worth(best));
  return close.sort((a, b) => promise(b) - promise(a))[0];
}

const NAMES: Record<Way, string> = {
  none: "here alone",
  experts: "with experts elsewhere",
  layers: "with layers elsewhere",
  requests: "elsewhere",
};

/** Why it was taken, for people. */
export function reasonFor(predicted: Speeds, tried: Speeds): string {
  const text = (speeds: Speeds) =>
    WAYS.filter((way) => speeds[way] !== undefined)
      .map((way) => `${NAMES[way]} ${speeds[way]!.toFixed(1)}`)
      .join(", ");
  const promise = `Tokens a second that are to be expected: ${text(predicted)}.`;
  return Object.keys(tried).length > 0 ? `${promise} Tried: ${text(tried)}.` : promise;
}
