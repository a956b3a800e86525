import { LocalLLM } from "../../src/api/llm.ts";
import type { Platform } from "../../src/api/platform.ts";
import type { CompanionMode, LoadOptions } from "../../src/api/types.ts";
import { GREEDY } from "../../src/engine/runner.ts";
import { createServer } from "../../src/server.ts";
import { shapingProxy } from "../support/shaping-proxy.ts";

export interface TableOptions {
  readonly source: string;
  readonly load: LoadOptions;
  /** What the page asks for besides, such as another device. */
  readonly page?: LoadOptions;
  readonly roundTripsMs: readonly number[];
  readonly megabits: readonly number[];
  /** Percent of the experts, or of the layers, that the page holds. */
  readonly shares: readonly number[];
  /** Of a reply, the fastest of which counts: whatever else runs on the machine is in the others. */
  readonly tokens: number;
  readonly replies: number;
}

export interface TableRow {
  readonly roundTripMs: number;
  readonly megabits: number;
  readonly share: number;
  /** Tokens a second, and the prediction. */
  readonly ways: Readonly<Record<CompanionMode | "none", readonly [measured: number, predicted: number]>>;
  readonly chosen: CompanionMode | "none";
}

const MODES = ["requests", "experts", "layers"] as const satisfies readonly CompanionMode[];

/** Tokens a second of every way to lean on a companion over shaped links, beside what is foretold of each. */
export async function* companionTable(platform: Platform, options: TableOptions): AsyncGenerator<TableRow> {
  const { source, load, page, roundTripsMs, megabits, shares, tokens, replies } = options;
  const speedOf = async (more: LoadOptions) => {
    const llm = await LocalLLM.load(platform, source, { ...load, ...page, ...more });
    const { engine } = await llm.host();
    const prompt = await llm.tokenize("Once upon a time");
    let leastMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i <= replies; i++) {
      const times: number[] = [];
      for await (const { kind } of engine.generate({ prompt, sampling: { ...GREEDY, maxTokens: tokens } })) {
        if (kind === "token") times.push(performance.now());
      }
      // The first one compiles, and fills slots.
      if (i > 0) leastMs = Math.min(leastMs, times.at(-1)! - times[0]);
    }
    await llm.dispose();
    return (1000 * (tokens - 1)) / leastMs;
  };
  const memoryOf = (share: number) => `${Math.max(share, 1)}%`;
  const alone = new Map<number, number>();
  for (const share of shares) alone.set(share, await speedOf({ memory: memoryOf(share) }));
  const host = await LocalLLM.load(platform, source, load);
  try {
    for (const roundTripMs of roundTripsMs) {
      for (const megabit of megabits) {
        // A server measures itself once.
        const server = createServer(host, {});
        const url = await server.listen({ port: 0 });
        await server.ready();
        const proxy = await shapingProxy(url, { delayMs: roundTripMs / 2, bitsPerSecond: megabit * 1e6 });
        try {
          const requests = await speedOf({ companion: { url: proxy.url, mode: "requests" } });
          for (const share of shares) {
            const memory = memoryOf(share);
            const auto = await LocalLLM.load(platform, source, { ...load, ...page, memory, companion: proxy.url });
            const { predicted, mode: chosen } = auto.info.companion!;
            await auto.dispose();
            const ways: Partial<Record<CompanionMode | "none", [number, number]>> = {
              none: [alone.get(share)!, predicted.none ?? 0],
            };
            for (const mode of MODES) {
              const speed =
                mode === "requests" ? requests : await speedOf({ memory, companion: { url: proxy.url, mode } });
              ways[mode] = [speed, predicted[mode] ?? 0];
            }
            yield { roundTripMs, megabits: megabit, share, ways: ways as TableRow["ways"], chosen };
          }
        } finally {
          await proxy.close();
          await server.close({ timeoutMs: 100 });
        }
      }
    }
  } finally {
    await host.dispose();
  }
}

/** A row as a line of a Markdown table. */
export function lineOf({ roundTripMs, megabits, share, ways, chosen }: TableRow): string {
  const speed = (value: number) => value.toFixed(value < 10 ? 1 : 0);
  const cells = ["requests", "experts", "layers", "none"].map((way) => {
    const [measured, predicted] = ways[way as keyof typeof ways];
    return `${speed(measured)} / ${speed(predicted)}`;
  });
  const best = Math.max(...Object.values(ways).map(([measured]) => measured));
  const ofBest = `${Math.round((100 * ways[chosen][0]) / best)} %`;
  return `| ${roundTripMs} | ${megabits} | ${share} | ${cells.join(" | ")} | ${chosen}, ${ofBest} |`;
}

export const HEADER = `| ms | Mbit/s | % here | requests | experts | layers | alone | taken, of the best |
|---|---|---|---|---|---|---|---|`;
