import { LocalLLM } from "../../src/api/llm.ts";
import type { Platform } from "../../src/api/platform.ts";
import type { CompanionMode, CompanionOptions, LoadOptions } from "../../src/api/types.ts";
import { median } from "../../src/common/typical-ms.ts";
import { GREEDY } from "../../src/engine/runner.ts";
import { createServer } from "../../src/server.ts";
import { shapingProxy } from "../support/shaping-proxy.ts";

type Way = CompanionMode | "none";

export interface TableOptions {
  readonly platform: Platform;
  readonly source: string;
  readonly host?: { readonly load?: LoadOptions; readonly maxStateBytesPerClient?: number };
  /** What the page has besides: another store, another device, and how it leans. */
  readonly page?: { readonly platform?: Platform; readonly load?: LoadOptions; readonly private?: boolean };
  readonly ways: readonly Way[];
  readonly roundTripsMs: readonly number[];
  readonly megabits: readonly number[];
  /** Percent of the experts, or of the layers, that the page holds. */
  readonly shares: readonly number[];
}

export interface TableRow {
  readonly roundTripMs: number;
  readonly megabits: number;
  readonly share: number;
  /** Tokens a second of each round, by way. */
  readonly ways: Readonly<Partial<Record<Way, readonly number[]>>>;
  readonly predicted: Readonly<Partial<Record<Way, number>>>;
  readonly tried: Readonly<Partial<Record<Way, number>>>;
  readonly chosen: Way;
}

/** Of a reply, and how many of them each way writes, in turn with the others: what else runs on the machine then meets all. */
const TOKENS = 13;
const ROUNDS = 4;
/** More where two ways are so close. */
const MOST_ROUNDS = 10;
const CLOSE = 0.8;

const LOAD = { maxContext: 256, maxBatchTokens: 64 };

/** Tokens a second of every way to lean on a companion over shaped links, beside what is foretold of each. */
export async function* companionTable(options: TableOptions): AsyncGenerator<TableRow> {
  const { platform, source, host = {}, page = {}, ways, roundTripsMs, megabits, shares } = options;
  const load = (more: LoadOptions) =>
    LocalLLM.load(page.platform ?? platform, source, { ...LOAD, ...page.load, ...more });
  const server = await LocalLLM.load(platform, source, { ...LOAD, ...host.load });
  const alone = new Map<number, LocalLLM>();
  for (const share of shares) alone.set(share, await load({ memory: memoryOf(share) }));
  for (const roundTripMs of roundTripsMs) {
    for (const megabit of megabits) {
      // A server measures itself once.
      const { maxStateBytesPerClient } = host;
      const companion = createServer(server, maxStateBytesPerClient === undefined ? {} : { maxStateBytesPerClient });
      const proxy = await shapingProxy(await companion.listen({ port: 0 }), {
        delayMs: roundTripMs / 2,
        bitsPerSecond: megabit * 1e6,
      });
      await companion.ready();
      const lean = (share: number, how: Partial<CompanionOptions>) =>
        load({ memory: memoryOf(share), companion: { url: proxy.url, ...how } });
      const requests = ways.includes("requests") ? await lean(0, { mode: "requests" }) : undefined;
      for (const share of shares) {
        const auto = await lean(share, { private: page.private });
        const { predicted, tried, mode: chosen } = auto.info.companion!;
        await auto.dispose();
        const models: Partial<Record<Way, LocalLLM>> = { none: alone.get(share)!, requests };
        for (const mode of ["experts", "layers"] as const) {
          if (ways.includes(mode)) models[mode] = await lean(share, { mode, private: page.private });
        }
        const speeds = await measured(models);
        yield { roundTripMs, megabits: megabit, share, ways: speeds, predicted, tried, chosen };
        await models.experts?.dispose();
        await models.layers?.dispose();
      }
      await requests?.dispose();
      await proxy.close();
      await companion.close({ timeoutMs: 100 });
    }
  }
  for (const llm of alone.values()) await llm.dispose();
  await server.dispose();
}

const memoryOf = (share: number) => `${Math.max(share, 1)}%`;

/** Tokens a second of each round of each way, all in turn. */
async function measured(models: Partial<Record<Way, LocalLLM>>): Promise<TableRow["ways"]> {
  const found = Object.entries(models).filter(([, llm]) => llm) as [Way, LocalLLM][];
  const speeds: Partial<Record<Way, number[]>> = Object.fromEntries(found.map(([way]) => [way, []]));
  for (let round = 0; round <= MOST_ROUNDS; round++) {
    for (const [way, llm] of found) {
      const tokensPerSecond = await replySpeed(llm, round);
      // The first one compiles, and fills slots.
      if (round > 0) speeds[way]!.push(tokensPerSecond);
    }
    if (round >= ROUNDS && !areClose(speeds)) break;
  }
  return speeds;
}

function areClose(speeds: TableRow["ways"]): boolean {
  const [best, next] = Object.values(speeds)
    .map(median)
    .sort((a, b) => b - a);
  return next > CLOSE * best;
}

/** Of text that is drawn: the likeliest tokens soon repeat themselves, and their experts. */
async function replySpeed(llm: LocalLLM, seed: number): Promise<number> {
  const { engine } = await llm.host();
  const prompt = await llm.tokenize("Once upon a time");
  const times: number[] = [];
  const sampling = { ...GREEDY, temperature: 1, seed, maxTokens: TOKENS };
  for await (const { kind } of engine.generate({ prompt, sampling }))
    if (kind === "token") times.push(performance.now());
  return (1000 * (times.length - 1)) / (times.at(-1)! - times[0]);
}

/** A row as a line of a Markdown table: of each way the median, in brackets the best, and what was foretold. */
export function lineOf({ roundTripMs, megabits, share, ways, predicted, tried, chosen }: TableRow): string {
  const speed = (value: number) => value.toFixed(value < 10 ? 1 : 0);
  const cells = (["requests", "experts", "layers", "none"] as const).map((way) => {
    const speeds = ways[way];
    return speeds
      ? `${speed(median(speeds))} (${speed(Math.max(...speeds))}) / ${predicted[way] ? speed(predicted[way]) : "–"}`
      : "–";
  });
  const trials = Object.entries(tried).map(([way, tokensPerSecond]) => `${nameOf(way)} ${speed(tokensPerSecond)}`);
  return `| ${roundTripMs} | ${megabits} | ${share} | ${cells.join(" | ")} | ${trials.join(", ")} | ${nameOf(chosen)}, ${ofBest({ ways, chosen })} % |`;
}

/** Percent of the best way's median that the chosen one has. */
export function ofBest({ ways, chosen }: Pick<TableRow, "ways" | "chosen">): number {
  return Math.round((100 * median(ways[chosen]!)) / Math.max(...Object.values(ways).map(median)));
}

const nameOf = (way: string) => (way === "none" ? "alone" : way);

export const HEADER = `| ms | Mbit/s | % here | requests | experts | layers | alone | tried | taken, of the best |
|---|---|---|---|---|---|---|---|---|`;
