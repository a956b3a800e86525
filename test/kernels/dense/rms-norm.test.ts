import { describe, expect, test } from "vitest";
import { rmsNorm } from "../../../src/ops/gpu/dense.ts";
import { expectClose } from "../../support/compare.ts";
import { KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";
import { writeRows } from "./dense-cases.ts";

describe.each([{}, { serialWorkgroups: true }, { serialWorkgroups: true, subgroups: true }])(
  "rms-norm without %o",
  (without) => {
    test.each([
      { rows: 1, columns: 1 },
      { rows: 3, columns: 17 },
      { rows: 2, columns: 129 },
      { rows: 1, columns: 2048 },
    ])("$rows × $columns", async ({ rows, columns }) => {
      const harness = await KernelHarness.create({ without });
      writeRows(harness, [rows]);
      const values = normals(rows * columns, 1);
      const factors = normals(columns, 2);
      const x = harness.input("x", rows, columns, values);
      const y = harness.output(rmsNorm(harness.context, x, { weight: harness.vector("factor", factors), eps: 1e-6 }));
      await harness.run();
      const expected = Float32Array.from({ length: rows * columns }, (_, i) => {
        const row = values.subarray(Math.floor(i / columns) * columns, (Math.floor(i / columns) + 1) * columns);
        const mean = row.reduce((sum, v) => sum + v * v, 0) / columns;
        return (values[i] / Math.sqrt(mean + 1e-6)) * factors[i % columns];
      });
      expectClose(await harness.read(y), expected, 1e-6);
      expect.hasAssertions();
      harness.dispose();
    });
  },
);
