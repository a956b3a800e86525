import { median } from "../common/typical-ms.ts";
import type { Device } from "../gpu/device.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import type { WeightSource } from "../weights/format.ts";
import { planWeight } from "../weights/load.ts";
import type { RunnerOptions } from "./memory-plan.ts";
import { empty, oneRow, PROBE_TOKENS, someLayers } from "./probe-speed.ts";
import { synthesizeWeight } from "./synthesize.ts";

/** Less where reading is slow, but for so many tokens. */
const ENOUGH_MS = 2000;
const FEWEST = 12;

/**
 * Milliseconds of one token in some layers, `options.expertSlots` of whose experts are on the device, with its result's way
 * back. The others are read from where they are, as in a reply; the rows are made up, and ask for experts as text does. The
 * device is disposed of with them.
 */
export async function probePaging(
  device: Device,
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
): Promise<{ readonly passMs: number; readonly layers: number }> {
  const routers = new Set(
    sources.layers.flatMap(({ feedForward }) => (feedForward.kind === "moe" ? [feedForward.router] : [])),
  );
  const { runner, layers } = await someLayers(device, sources, options, async (source, step) =>
    source.role === "vector" || routers.has(source)
      ? synthesizeWeight(source, step)
      : empty(device, planWeight(source, step.quantization)),
  );
  try {
    const next = textLikeRows(sources.embedding.columns);
    const times: number[] = [];
    const startMs = performance.now();
    for (let position = 0; position < PROBE_TOKENS; position++) {
      const tokenMs = performance.now();
      if (position >= FEWEST && tokenMs - startMs > ENOUGH_MS) break;
      await runner.pass(oneRow(position, next()));
      times.push(performance.now() - tokenMs);
    }
    // The first half fills the slots.
    return { passMs: median(times.slice(times.length >> 1)), layers };
  } finally {
    runner.dispose();
  }
}

/** How much a row has in common with all rows, and of the rest, with the row before. */
const COMMON = 0.5;
const KEPT = 0.3;

/** So large that layers without weights leave a row as it was. */
const SIZE = 30;

/**
 * Rows whose experts a cache finds as often as those of text: with Sprout's 4 of 24 experts 35, 45, 56, 74 and 92 % with slots
 * for 17, 25, 33, 50 and 75 % (text: 36, 46, 55, 73, 91 %); with 8 of 256 40, 53 and 87 % with 12, 25 and 50 %.
 */
export function textLikeRows(columns: number): () => Float32Array<ArrayBuffer> {
  const numbers = () => Float32Array.from({ length: columns }, () => Math.sqrt(12) * (Math.random() - 0.5));
  const common = numbers();
  let own = numbers();
  return () => {
    const fresh = numbers();
    own = own.map((value, i) => KEPT * value + Math.sqrt(1 - KEPT ** 2) * fresh[i]);
    return own.map((value, i) => SIZE * (COMMON * common[i] + Math.sqrt(1 - COMMON ** 2) * value));
  };
}
