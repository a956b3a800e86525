import { test } from "vitest";
import { type HarnessOptions, KernelHarness } from "../support/kernel-harness.ts";

export interface BenchCase {
  readonly name: string;
  /** Least bytes to move and operations to do in one replay. */
  readonly bytes: number;
  readonly flops: number;
  readonly options?: HarnessOptions;
  /** Records what is timed. */
  readonly record: (harness: KernelHarness) => void;
}

/** Prints the median time of each case (one run where that is long), and what it comes to. Run by `npx vitest run --mode bench`. */
export function bench(family: string, cases: readonly BenchCase[]): void {
  test.each(cases)(`${family}: $name`, async ({ name, bytes, flops, options, record }) => {
    const harness = await KernelHarness.create(options);
    record(harness);
    const once = await harness.time(1, 1);
    const ms = once > 50 ? once : await harness.time();
    const [gigabytes, gigaflops] = [bytes, flops].map((count) => (count / ms / 1e6).toFixed(1).padStart(8));
    console.log(`${name.padEnd(44)} ${ms.toFixed(3).padStart(9)} ms ${gigabytes} GB/s ${gigaflops} GFLOP/s`);
    harness.dispose();
  });
}
