import { allBlocks } from "../engine/runner.ts";
import { LLMError } from "../errors.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import { variedTokens } from "./measure.ts";

export interface ExpertSpread {
  readonly tokens: number;
  /** Different experts that they choose, the mean over sparse layers. */
  readonly distinct: number;
  /** What it would be if every expert were as likely: E (1 − (1 − k/E)^n). */
  readonly uniform: number;
  readonly of: number;
}

/** How many experts some tokens choose between them. Reads the tokens into the state. */
export async function countDistinctExperts(runner: ModelRunner, config: ModelConfig): Promise<ExpertSpread[]> {
  const { experts: E, topK: k } = config;
  const { maxBatchTokens, maxContext, vocabularySize } = runner.limits;
  const counts: ExpertSpread[] = [];
  for (const tokens of new Set([8, 32, 2048].map((n) => Math.min(n, maxBatchTokens, maxContext)))) {
    const step = { tokens: variedTokens(tokens, vocabularySize), position: 0, slot: 0, blocks: allBlocks(runner) };
    const layers = await runner.routing(step);
    const distinct = layers.reduce((sum, ids) => sum + new Set(ids).size, 0) / layers.length;
    counts.push({ tokens, distinct, uniform: E * (1 - (1 - k / E) ** tokens), of: E });
  }
  return counts;
}

/** Fails where made-up weights send all tokens to the same experts: such a run would flatter prefill. */
export function checkSpread(counts: readonly ExpertSpread[]): void {
  const narrow = counts.find(({ distinct, uniform }) => distinct < 0.6 * uniform);
  if (!narrow) return;
  const { tokens, distinct, uniform } = narrow;
  throw new LLMError(
    `${tokens} tokens choose only ${distinct.toFixed(0)} experts a layer between them, where ${uniform.toFixed(0)} would be even. ` +
      "Figures from such weights would flatter; nothing was measured.",
  );
}
