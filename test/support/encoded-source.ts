import { canQuantize, encodeRows } from "../../src/weights/convert.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import type { WeightFormat, WeightRows, WeightSource } from "../../src/weights/format.ts";

/** The same weight stored in another format, where it is a matrix that can be. What has been encoded is kept. */
export function encodedSource(source: WeightSource, format: WeightFormat): WeightSource {
  if (source.role !== "matrix" || source.format === format || !canQuantize(source.columns)) return source;
  const known = new Map<string, Promise<WeightRows>>();
  const encode: WeightSource["read"] = async (from, to, signal) =>
    encodeRows(decodeRows(await source.read(from, to, signal)), source.columns, format, source.label);
  const read: WeightSource["read"] = (from, to, signal) => {
    const range = `${from}-${to}`;
    const rows = known.get(range) ?? encode(from, to, signal);
    known.set(range, rows);
    return rows;
  };
  return { ...source, format, auto: format, read };
}
