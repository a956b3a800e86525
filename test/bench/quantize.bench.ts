import { test } from "vitest";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { canQuantize, convertRows } from "../../src/weights/convert.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";

const folder = process.env.SLUICE_BENCH_MODEL;

/** Prints ‖quantised − original‖ / ‖original‖ over all matrices of a checkpoint but routers and gates. */
test.skipIf(!folder)("quantising error of SLUICE_BENCH_MODEL", async () => {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder!));
  const errors = { q8: 0, q4: 0 };
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
    for (const format of ["q8", "q4"] as const) {
      const quantized = decodeRows(convertRows(stored, format, name));
      errors[format] += quantized.reduce((sum, w, i) => sum + (w - values[i]) ** 2, 0);
    }
  }
  await checkpoint.close();
  for (const [format, error] of Object.entries(errors)) {
    console.log(`${format}: ${(100 * Math.sqrt(error / squares)).toFixed(2)} % relative RMS error`);
  }
});
