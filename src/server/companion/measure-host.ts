import type { ModelHost } from "../../api/model-host.ts";
import { GREEDY } from "../../engine/runner.ts";

export interface HostSpeed {
  readonly tokensPerSecond: number;
  readonly sumMs?: number;
}

const TOKENS = 9;
const SUMS = 5;

/** How fast a model decodes for one client, and how long a sum of one row takes, beside what it does meanwhile. */
export async function measureHost({ engine, experts }: ModelHost): Promise<HostSpeed> {
  let firstMs = 0;
  for await (const event of engine.generate({ prompt: [0], sampling: { ...GREEDY, maxTokens: TOKENS } })) {
    if (event.kind === "token") firstMs ||= performance.now();
  }
  const tokensPerSecond = (1000 * (TOKENS - 1)) / (performance.now() - firstMs);
  if (!experts) return { tokensPerSecond };
  const { hidden, topK } = experts.shape;
  const input = {
    x: new Float32Array(hidden).fill(1),
    ids: Uint32Array.from({ length: topK }, (_, i) => i),
    weights: new Float32Array(topK).fill(1 / topK),
  };
  // The first one compiles.
  await experts.sum(0, input);
  const startMs = performance.now();
  for (let i = 0; i < SUMS; i++) await experts.sum(0, input);
  return { tokensPerSecond, sumMs: (performance.now() - startMs) / SUMS };
}
