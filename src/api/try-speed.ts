import { median } from "../common/typical-ms.ts";
import type { Engine } from "../engine/engine.ts";
import { GREEDY } from "../engine/runner.ts";

/** Tokens before it counts: they compile, and fill slots of experts. */
const WARM = 8;
const STRETCH = 8;
const STRETCHES = 16;
/** Less where they come slowly, but so many. */
const ENOUGH_MS = 1500;
const FEWEST = 4;

/** Tokens a second of a short reply: the median of some stretches. It is drawn, since the likeliest tokens soon repeat themselves and their experts. */
export async function trySpeed(engine: Pick<Engine, "generate" | "clearCache">, signal?: AbortSignal): Promise<number> {
  const times = [performance.now()];
  const sampling = { ...GREEDY, temperature: 1, seed: 1, maxTokens: WARM + STRETCH * STRETCHES };
  for await (const { kind } of engine.generate({ prompt: [0], sampling, signal })) {
    if (kind !== "token") continue;
    times.push(performance.now());
    if (times.length > FEWEST && times.at(-1)! - times[0] > ENOUGH_MS) break;
  }
  engine.clearCache();
  signal?.throwIfAborted();
  const last = times.length - 1;
  const from = Math.min(WARM, last >> 1);
  const stretch = Math.min(STRETCH, last - from);
  const stretches = Array.from({ length: Math.floor((last - from) / stretch) }, (_, i) => {
    const at = from + i * stretch;
    return (times[at + stretch] - times[at]) / stretch;
  });
  return 1000 / median(stretches);
}
