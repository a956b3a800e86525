import { expect, test } from "vitest";
import { convertRows } from "../../src/weights/convert.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import { BLOCK_TYPES, type BlockType, unpackBlocks } from "../../src/weights/gguf/block-types.ts";
import { relativeError } from "../support/compare.ts";
import { decodeBlocks, encodeBlocks } from "../support/gguf-blocks.ts";
import { normals } from "../support/random.ts";

const COLUMNS = 2048;
const values = normals(256 * COLUMNS, 1, 0.02);

/**
 * Prints, for normally distributed weights, what a type loses itself, what `auto` loses beyond that, and the speed of one
 * core: of unpacking, and with quantising where the type has no device format of its own.
 */
test.each(Object.values(BLOCK_TYPES) as BlockType[])("$name", (type) => {
  const blocks = encodeBlocks(type.name, values);
  const stored = decodeBlocks(type.name, blocks);
  const device = type.auto ?? type.format;
  const convert = () => convertRows(unpackBlocks(type, blocks, COLUMNS), device, type.name);
  const own = relativeError(stored, values);
  const further = relativeError(decodeRows(convert()), stored);
  const [unpackMs, allMs] = [() => unpackBlocks(type, blocks, COLUMNS), convert].map(fastestMs);
  const rate = (ms: number) => `${(values.length / ms / 1e3).toFixed(0).padStart(6)} M weights/s`;
  const errors = `${percent(own)} own, ${percent(further)} further`;
  console.log(`${type.name.padEnd(7)} ${device.padEnd(5)} ${errors}; ${rate(unpackMs)}, ${rate(allMs)} in all`);
  expect(further).toBeLessThan(0.01);
});

const percent = (error: number): string => `${(100 * error).toFixed(3)} %`.padStart(9);

function fastestMs(run: () => unknown): number {
  const times = Array.from({ length: 15 }, () => {
    const start = performance.now();
    run();
    return performance.now() - start;
  });
  return Math.min(...times);
}
