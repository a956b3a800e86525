import { allBlocks, GREEDY } from "../engine/runner.ts";
import type { PlanProfile } from "../gpu/profile-plan.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import { variedTokens } from "./measure.ts";
import { table } from "./text.ts";

/** Time on the device of one step. */
export interface StepProfile {
  readonly step: string;
  /** The step as it runs in earnest. */
  readonly wholeMicroseconds: number;
  readonly kernels: readonly KernelTime[];
}

interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  readonly microseconds: number;
}

/** Time on the device by kernel: of a decode step of one sequence and of as many as `batch` says, and of a prefill step. */
export async function profileSteps(
  runner: ModelRunner,
  prompt: number,
  batch: readonly number[] = [],
): Promise<StepProfile[]> {
  const tokens = variedTokens(Math.min(prompt, runner.limits.maxBatchTokens), runner.limits.vocabularySize);
  const step = { tokens, position: 0, slot: 0, blocks: allBlocks(runner) };
  // The first run of each pays for memory that nobody has touched.
  await runner.profile("prefill", step);
  const prefill = report(`prefill of ${tokens.length} tokens`, await runner.profile("prefill", step));
  await runner.prefill([{ ...step, sample: true }]);
  await runner.profile("decode");
  const decode = report("a decode step", await runner.profile("decode"));
  const batches = [];
  for (const sequences of batch.filter((count) => count > 1)) {
    const rows = Array.from({ length: sequences }, (_, slot) => ({
      slot,
      blocks: [slot],
      position: 0,
      token: 7919 * slot,
    }));
    for (const { slot } of rows) runner.setSampling(slot, { ...GREEDY, maxTokens: 8 }, []);
    await runner.decode(rows.map((row) => ({ ...row, token: row.token % runner.limits.vocabularySize })));
    await runner.profile("decode");
    batches.push(report(`a decode step of ${sequences}`, await runner.profile("decode")));
  }
  return [decode, ...batches, prefill];
}

export function profileText({ step, wholeMicroseconds, kernels }: StepProfile): string {
  const total = kernels.reduce((sum, { microseconds }) => sum + microseconds, 0);
  const rows = kernels.map(({ kernel, dispatches, microseconds }) => [
    kernel,
    String(dispatches),
    microseconds.toFixed(0),
    (microseconds / dispatches).toFixed(1),
    `${((100 * microseconds) / total).toFixed(1)} %`,
  ]);
  const whole = (wholeMicroseconds / 1000).toFixed(3);
  const title = [
    `${step}, ${whole} ms, its kernels alone ${(total / 1000).toFixed(3)} ms`,
    "dispatches",
    "µs",
    "µs each",
    "share",
  ];
  return table([title, ...rows], { left: [0] });
}

const report = (step: string, { kernels, wholeNs }: PlanProfile): StepProfile => ({
  step,
  wholeMicroseconds: wholeNs / 1000,
  kernels: byKernel(kernels),
});

/** The slowest first. */
function byKernel(times: PlanProfile["kernels"]): KernelTime[] {
  const sums = new Map<string, { kernel: string; dispatches: number; microseconds: number }>();
  for (const { kernel, ns } of times) {
    const sum = sums.get(kernel) ?? { kernel, dispatches: 0, microseconds: 0 };
    sum.dispatches++;
    sum.microseconds += ns / 1000;
    sums.set(kernel, sum);
  }
  return [...sums.values()].sort((a, b) => b.microseconds - a.microseconds);
}
