import { syntheticModel } from "../../src/models/qwen3-next/synthetic.ts";
import { convertWeights } from "../../src/models/qwen3-next/weights.ts";
import { GROUP, type WeightRows, type WeightSource } from "../../src/weights/format.ts";
import { floatToHalf } from "../../src/weights/half.ts";

interface ReadLog {
  bytes: number;
  /** Waits so many milliseconds for a megabyte, as a slow store would. */
  msPerMegabyte: number;
  /** Fails reads of experts. */
  failing: boolean;
}

/** A model of any shape whose weights are made up row by row when they are read: matrices in q4, the rest in f32. */
export function madeUpModel(json: Readonly<Record<string, unknown>>) {
  const log: ReadLog = { bytes: 0, msPerMegabyte: 0, failing: false };
  const { config, sources: made } = syntheticModel(json);
  const sources = convertWeights(made, (source): WeightSource => {
    const format = source.role === "matrix" ? "q4" : "f32";
    return {
      ...source,
      auto: undefined,
      format,
      read: async (from, to) => {
        if (log.failing && source.label.includes("experts.")) throw new Error(`${source.label} cannot be read`);
        const rows = format === "q4" ? q4Rows(source, from, to) : f32Rows(source, from, to);
        const bytes = rows.data.byteLength + (rows.scales?.byteLength ?? 0);
        log.bytes += bytes;
        if (log.msPerMegabyte > 0) await new Promise((done) => setTimeout(done, (log.msPerMegabyte * bytes) / 1e6));
        return rows;
      },
    };
  });
  return { config, sources, log };
}

function q4Rows({ label, columns }: WeightSource, from: number, to: number): WeightRows {
  const words = new Uint32Array(((to - from) * columns) / 8);
  const scales = new Uint16Array(((to - from) * columns) / GROUP);
  const scale = floatToHalf(1 / (4.64 * Math.sqrt(columns)));
  for (let row = from; row < to; row++) {
    const next = generator(seedOf(label) ^ Math.imul(row + 1, 0x9e3779b1));
    const start = ((row - from) * columns) / 8;
    for (let i = 0; i < columns / 8; i++) words[start + i] = next();
  }
  scales.fill(scale);
  return {
    format: "q4",
    rows: to - from,
    columns,
    data: new Uint8Array(words.buffer),
    scales: new Uint8Array(scales.buffer),
  };
}

function f32Rows({ label, role, columns }: WeightSource, from: number, to: number): WeightRows {
  const values = new Float32Array((to - from) * columns);
  const deviation = role === "embedding" ? 1 : 1 / Math.sqrt(columns);
  for (let row = from; row < to; row++) {
    const next = generator(seedOf(label) ^ Math.imul(row + 1, 0x9e3779b1));
    for (let c = 0; c < columns; c++) {
      values[(row - from) * columns + c] =
        role === "vector" ? vectorValue(label, c, columns) : (next() / 2 ** 31 - 1) * Math.sqrt(3) * deviation;
    }
  }
  return { format: "f32", rows: to - from, columns, data: new Uint8Array(values.buffer) };
}

/** Norms are 1, decay differs by head, the convolution looks at its newest inputs most. */
function vectorValue(label: string, column: number, columns: number): number {
  if (label.endsWith("A_log")) return -0.02 * 1.2 ** (column % 24);
  if (label.endsWith("dt_bias")) return 0;
  return label.includes("conv1d") ? [0.1, -0.2, 0.4, 0.8][(column % columns) % 4] : 1;
}

/** xorshift32 */
function generator(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

function seedOf(label: string): number {
  let seed = 7;
  for (const letter of label) seed = (Math.imul(seed, 31) + letter.charCodeAt(0)) | 0;
  return seed;
}
