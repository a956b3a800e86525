import type { ModelHost } from "../../api/model-host.ts";
import { GREEDY } from "../../engine/runner.ts";
import type { ExpertHost } from "../../paging/expert-host.ts";
import type { LayerHost } from "../../runner/layer-host.ts";

export interface HostSpeed {
  readonly tokensPerSecond: number;
  readonly sumMs?: number;
  /** One row through all layers. */
  readonly passMs?: number;
}

const TOKENS = 9;
const REPLIES = 4;
/** Who asks first waits for it, and on a slow server not for long. */
const ENOUGH_MS = 400;

const STRETCH = 5;
const TIMES = 1 + 4 * STRETCH;

/** How fast a model decodes for one client, and how long a sum or a pass of one row takes, at best: what it does meanwhile slows all. */
export async function measureHost({ engine, experts, layers }: ModelHost): Promise<HostSpeed> {
  let tokenMs = Number.POSITIVE_INFINITY;
  const enoughMs = performance.now() + ENOUGH_MS;
  for (let i = 0; i < REPLIES && (i === 0 || performance.now() < enoughMs); i++) {
    let firstMs = 0;
    for await (const event of engine.generate({ prompt: [0], sampling: { ...GREEDY, maxTokens: TOKENS } })) {
      if (event.kind === "token") firstMs ||= performance.now();
    }
    tokenMs = Math.min(tokenMs, (performance.now() - firstMs) / (TOKENS - 1));
  }
  return {
    tokensPerSecond: 1000 / tokenMs,
    sumMs: experts && (await measureSums(experts)),
    passMs: layers && (await measurePasses(layers)),
  };
}

async function measureSums(experts: ExpertHost): Promise<number> {
  const { hidden, topK } = experts.shape;
  const input = {
    x: new Float32Array(hidden).fill(1),
    ids: Uint32Array.from({ length: topK }, (_, i) => i),
    weights: new Float32Array(topK).fill(1 / topK),
  };
  return leastMs(() => experts.sum(0, input));
}

async function measurePasses({ open, count, hidden }: LayerHost): Promise<number> {
  const sizes = { maxContext: 64, maxBatchTokens: 1, maxSequences: 1, snapshots: 0, cacheTokens: 64 };
  const layers = await open({ from: 0, to: count, ...sizes });
  try {
    const row = new Float32Array(hidden).fill(0.1);
    const pass = (position: number) =>
      layers.pass({ kind: "decode", steps: [{ tokens: [0], position, slot: 0, blocks: [0] }], hidden: row });
    return await leastMs(pass);
  } finally {
    layers.dispose();
  }
}

async function leastMs(run: (time: number) => Promise<unknown>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  // The first one compiles.
  await run(0);
  const enoughMs = performance.now() + ENOUGH_MS;
  for (let time = 1; time < TIMES && (time === 1 || performance.now() < enoughMs); ) {
    const startMs = performance.now();
    for (let end = time + STRETCH; time < end; time++) await run(time);
    least = Math.min(least, (performance.now() - startMs) / STRETCH);
  }
  return least;
}
