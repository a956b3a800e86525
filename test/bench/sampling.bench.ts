import type { ResolvedSampling } from "../../src/engine/runner.ts";
import { samplingRecord } from "../kernels/sampling/sampling-case.ts";
import { type BenchCase, bench } from "./bench.ts";

/** One token of one sequence. Bytes: logits, counts and bias read, processed logits written and read. */
function draw(name: string, vocabulary: number, options: Partial<ResolvedSampling>): BenchCase {
  return {
    name: `${vocabulary} tokens, ${name}`,
    bytes: 20 * vocabulary,
    flops: vocabulary,
    options: { limits: { maxSequences: 1 } },
    record: (harness) => samplingRecord(harness, vocabulary, { maxTokens: 1e9, ...options }),
  };
}

bench(
  "sampling",
  [8256, 151936].flatMap((vocabulary) => [
    draw("the largest", vocabulary, { temperature: 0 }),
    draw("top-k 20, top-p 0.8", vocabulary, { topK: 20, topP: 0.8 }),
    draw("top-p 0.9", vocabulary, { topP: 0.9 }),
    draw("any", vocabulary, {}),
  ]),
);
