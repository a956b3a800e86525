import { linear } from "../../src/ops/gpu/linear.ts";
import { dataBytes, scaleBytes, type WeightFormat } from "../../src/weights/format.ts";
import { normals } from "../support/random.ts";
import { type BenchCase, bench } from "./bench.ts";

/** `rows` of 2048 columns times a matrix of 2048 rows whose values do not matter. */
function product(format: WeightFormat, rows: number): BenchCase {
  const [columns, outputs] = [2048, 2048];
  const data = new Uint8Array(dataBytes(format, columns * outputs));
  const scales = new Uint8Array(scaleBytes(format, columns * outputs));
  return {
    name: `${format}, ${rows} rows`,
    bytes: data.length + scales.length + 4 * rows * (columns + outputs),
    flops: 2 * rows * columns * outputs,
    options: { limits: { maxTokens: Math.max(64, rows), maxSequences: 1 } },
    record: (harness) => {
      harness.writeBatch([{ tokens: new Uint32Array(rows), position: 0, slot: 0, blocks: BLOCKS }]);
      const weight = { format, rows: outputs, columns, data, scales: scales.length > 0 ? scales : undefined };
      const x = harness.input("x", rows, columns, normals(rows * columns, 1));
      harness.output(linear(harness.context, x, harness.weight("w", weight)));
    },
  };
}

const BLOCKS = Array.from({ length: 16 }, (_, i) => i);

bench(
  "linear",
  (["q4", "q8", "bf16"] as const).flatMap((format) => [1, 2, 4, 8, 64, 512].map((rows) => product(format, rows))),
);
