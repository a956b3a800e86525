import { expect, test } from "vitest";
import { convertRows } from "../../src/weights/convert.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import { FileListSource } from "../../src/weights/file-list-source.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { encodeSafetensors } from "../../src/weights/write-safetensors.ts";
import { relativeError } from "../support/compare.ts";
import { toFiles } from "../support/model-files.ts";
import { QUANTIZERS } from "../support/quantizers.ts";
import { normals } from "../support/random.ts";

const [rows, columns] = [256, 2048];
const values = normals(rows * columns, 1, 0.02);

/**
 * Prints, for normally distributed weights, what a quantiser loses itself, what `auto` loses beyond that, and the speed of
 * one core from the file's bytes to the device's.
 */
test.each(QUANTIZERS)("$name", async ({ name, config, write, device }) => {
  const written = write({ rows, columns, values });
  const parts = written.parts.map(({ suffix, ...part }) => ({ name: `m.${suffix}`, ...part }));
  const files = { "config.json": JSON.stringify(config), "model.safetensors": encodeSafetensors(parts) };
  const { tensors } = await openCheckpoint(new FileListSource(toFiles(files)));
  const convert = async () => convertRows(await tensors.get("m.weight")!.read(0, rows), device, name);
  const own = relativeError(written.values, values);
  const further = relativeError(decodeRows(await convert()), written.values);
  let fastestMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 15; i++) {
    const start = performance.now();
    await convert();
    fastestMs = Math.min(fastestMs, performance.now() - start);
  }
  const errors = `${percent(own)} own, ${percent(further)} further`;
  const rate = (values.length / fastestMs / 1e3).toFixed(0).padStart(5);
  console.log(`${name.padEnd(36)} ${device.padEnd(4)} ${errors}; ${rate} M weights/s`);
  expect(further).toBeLessThan(0.01);
});

const percent = (error: number): string => `${(100 * error).toFixed(3)} %`.padStart(9);
