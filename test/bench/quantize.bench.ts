import { test } from "vitest";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { canQuantize, convertRows } from "../../src/weights/convert.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";

const folder = process.env.SLUICE_BENCH_MODEL;

/** Prints the speed of one core, and ‖quantised − original‖ / ‖original‖ over all matrices of a checkpoint but routers and gates. */
test.skipIf(!folder)("quantising error of SLUICE_BENCH_MODEL", async () => {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder!));
  const errors = { q8: 0, q4: 0, q4a: 0 };
  const times = { q8: 0, q4: 0, q4a: 0 };
  let bytes = 0;
  let squares = 0;
  for (const { name, shape, read } of checkpoint.tensors.values()) {
    const isMatrix = shape.length > 1 && canQuantize(shape.at(-1)!);
    if (!isMatrix || /\.(gate|shared_expert_gate|in_proj_\w*[ab])\.weight$/.test(name)) continue;
    const stored = await read(
      0,
      shape.slice(0, -1).reduce((rows, size) => rows * size, 1),
    );
    const values = decodeRows(stored);
    squares += values.reduce((sum, w) => sum + w * w, 0);
    bytes += values.byteLength;
    for (const format of ["q8", "q4", "q4a"] as const) {
      const start = performance.now();
      const encoded = convertRows({ ...stored, format: "f32", data: new Uint8Array(values.buffer) }, format, name);
      times[format] += performance.now() - start;
      const quantized = decodeRows(encoded);
      errors[format] += quantized.reduce((sum, w, i) => sum + (w - values[i]) ** 2, 0);
    }
  }
  await checkpoint.close();
  for (const format of ["q8", "q4", "q4a"] as const) {
    const rate = bytes / times[format] / 1e3;
    const error = 100 * Math.sqrt(errors[format] / squares);
    console.log(`${format}: ${error.toFixed(2)} % relative RMS error, ${rate.toFixed(0)} MB/s of f32`);
  }
});
