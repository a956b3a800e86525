import type { PagingStats } from "../api/types.ts";
import { allBlocks, GREEDY, type Runner, type Sampled } from "../engine/runner.ts";
import { countPaging, type PagingCounts } from "./measure-paging.ts";

/** Milliseconds from giving a prompt of `length` tokens to its first reply token, `repeats` times after a warm-up. */
export async function measurePrefill(runner: Runner, length: number, repeats: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    const start = performance.now();
    await readPrompt(runner, length, 1);
    times.push(performance.now() - start);
  }
  return times.slice(1);
}

export interface DecodeMeasurement {
  readonly ms: number;
  /** Of all threads of this process; on a software adapter they are also the GPU. */
  readonly cpuMs: number;
  /** Results read from the device meanwhile. */
  readonly readbacks: number;
  /** What the cache of experts had done before and after, where there is one. */
  readonly paging: { readonly before?: PagingCounts; readonly after?: PagingCounts };
}

/** Draws `count` tokens after `depth` others, `repeats` times after a warm-up. */
export async function measureDecode(
  runner: Runner & { readonly readbacks?: number; readonly paging?: PagingStats },
  depth: number,
  count: number,
  repeats: number,
): Promise<DecodeMeasurement[]> {
  const all: DecodeMeasurement[] = [];
  await readPrompt(runner, depth, count + 1);
  const savedSlot = runner.limits.maxSequences;
  runner.copyState(LIVE_SLOT, savedSlot);
  const last = { tokens: [0], position: depth, slot: LIVE_SLOT, blocks: allBlocks(runner), sample: true };
  for (let i = 0; i <= repeats; i++) {
    runner.setSampling(LIVE_SLOT, { ...GREEDY, maxTokens: count + 1 }, []);
    runner.copyState(savedSlot, LIVE_SLOT);
    await runner.prefill([last]);
    const { readbacks = 0 } = runner;
    const before = await countPaging(runner.paging);
    const start = performance.now();
    const cpuStart = process.cpuUsage();
    await drawTokens(runner, depth + 1, count);
    const { user, system } = process.cpuUsage(cpuStart);
    const ms = performance.now() - start;
    const paging = { before, after: await countPaging(runner.paging) };
    all.push({ ms, cpuMs: (user + system) / 1000, readbacks: (runner.readbacks ?? 0) - readbacks, paging });
  }
  return all.slice(1);
}

/**
 * Milliseconds of `count` decode steps for `sequences` at once after `depth` tokens each, `repeats` times after a warm-up.
 * Every sequence has read tokens of its own.
 */
export async function measureBatch(
  runner: Runner,
  sequences: number,
  { depth, count, repeats }: { readonly depth: number; readonly count: number; readonly repeats: number },
): Promise<number[]> {
  const { blockTokens, vocabularySize, maxBatchTokens } = runner.limits;
  const perSequence = Math.ceil((depth + count + 1) / blockTokens);
  const rows = Array.from({ length: sequences }, (_, slot) => ({
    slot,
    blocks: Array.from({ length: perSequence }, (_, i) => slot * perSequence + i),
  }));
  for (const { slot, blocks } of rows) {
    const prompt = variedTokens(depth, vocabularySize, slot);
    for (let position = 0; position < depth; position += maxBatchTokens) {
      const tokens = prompt.slice(position, position + maxBatchTokens);
      await runner.prefill([{ tokens, position, slot, blocks }]);
    }
  }
  const times: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    for (const { slot } of rows) runner.setSampling(slot, { ...GREEDY, maxTokens: count + 2 }, []);
    const step = (ahead: number) =>
      runner.decode(
        rows.map((row) => ({ ...row, position: depth + ahead, token: ahead === 0 ? row.slot : undefined })),
      );
    await step(0);
    const start = performance.now();
    const inFlight: Promise<unknown>[] = [];
    for (let submitted = 1; submitted <= count || inFlight.length > 0; ) {
      while (submitted <= count && inFlight.length < STEPS_IN_FLIGHT) inFlight.push(step(submitted++));
      await inFlight.shift();
    }
    times.push(performance.now() - start);
  }
  return times.slice(1);
}

/** The value that a share `q` of the others does not exceed. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)];
}

const LIVE_SLOT = 0;

/** As many as the engine submits before the first has answered. */
const STEPS_IN_FLIGHT = 2;

async function readPrompt(runner: Runner, length: number, maxTokens: number): Promise<void> {
  const { maxBatchTokens, vocabularySize } = runner.limits;
  runner.setSampling(LIVE_SLOT, { ...GREEDY, maxTokens }, []);
  const prompt = variedTokens(length, vocabularySize);
  for (let position = 0; position < length; position += maxBatchTokens) {
    const tokens = prompt.slice(position, position + maxBatchTokens);
    const sample = position + tokens.length === length;
    await runner.prefill([{ tokens, position, slot: LIVE_SLOT, blocks: allBlocks(runner), sample }]);
  }
}

async function drawTokens(runner: Runner, position: number, count: number): Promise<void> {
  const inFlight: Promise<readonly (Sampled | undefined)[]>[] = [];
  const blocks = allBlocks(runner);
  for (let submitted = 0, drawn = 0; drawn < count; drawn++) {
    while (submitted < count && inFlight.length < STEPS_IN_FLIGHT) {
      inFlight.push(runner.decode([{ slot: LIVE_SLOT, position: position + submitted, blocks }]));
      submitted++;
    }
    await inFlight.shift();
  }
}

/** Different tokens, so that experts are used as they are by text. */
export const variedTokens = (length: number, vocabulary: number, seed = 0): number[] =>
  Array.from({ length }, (_, i) => (i * 7919 + seed * 104_729) % vocabulary);
