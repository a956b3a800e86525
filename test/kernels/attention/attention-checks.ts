import { expect } from "vitest";
import { expectClose } from "../../support/compare.ts";
import type { HarnessOptions } from "../../support/kernel-harness.ts";
import { type AttentionCase, runAttention, shapeOf } from "./attention-case.ts";

export const small = shapeOf(4, 2, 64);

/** Attention as it is chosen for a kind of step, where a device is `without` some of what it has. */
export function attentionChecks(kind: AttentionCase["kind"], without: HarnessOptions["without"]) {
  const run = async (given: Omit<AttentionCase, "kind">) => {
    const run = await runAttention({ ...given, kind, options: { without, ...given.options } });
    await run.harness.run();
    return run;
  };

  async function check(c: Omit<AttentionCase, "kind">, limit = 5e-6): Promise<void> {
    const { harness, rows, queries, y, expected, expectedQueries } = await run(c);
    const width = expected.columns;
    expectClose((await harness.read(queries)).subarray(0, rows * width), expectedQueries.data, 2e-6, "queries");
    expectClose((await harness.read(y)).subarray(0, rows * width), expected.data, limit, "attention");
    expect.hasAssertions();
    harness.dispose();
  }

  /** Of three sequences the second has ended: its row is 0, and does the others no harm. */
  async function checkEnded(): Promise<void> {
    const sequences = [5, 80, 33].map((position) => ({ position, count: 1 }));
    const { harness, y, expected } = await run({ shape: small, sequences, inactive: [1] });
    const actual = await harness.read(y);
    const { columns } = expected;
    expect([...actual.subarray(columns, 2 * columns)]).toEqual(Array(columns).fill(0));
    expectClose(actual.subarray(0, columns), expected.data.subarray(0, columns), 5e-6);
    expectClose(actual.subarray(2 * columns, 3 * columns), expected.data.subarray(2 * columns), 5e-6);
    harness.dispose();
  }

  return { check, checkEnded };
}
