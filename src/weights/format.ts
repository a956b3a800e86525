/**
 * How a matrix [rows, columns] lies on the device. Rows are contiguous.
 * - `f32`, `f16`, `bf16`: elements in order.
 * - `q8`: int8 elements in order; per 32 of them one f16 scale. w = q · scale.
 * - `q4`: 32 elements in 16 bytes; per 32 one f16 scale. w = (q − 8) · scale. In each u32 the elements 0…7 sit at bits
 *   0, 16, 4, 20, 8, 24, 12, 28, so that one mask yields two neighbours 16 bits apart (f16 pairs), and another four bytes
 *   (0, 4, 1, 5, then 2, 6, 3, 7) for integer dot products.
 * - `q4a`: elements as in q4; per 32 a pair of f16, scale and min. w = q · scale + min.
 * Scales are a second plane, [rows, columns / 32] f16 (q4a: [rows, columns / 32, 2]), padded to a whole u32 at the end.
 */
export type WeightFormat = "f32" | "f16" | "bf16" | QuantizedFormat;

export type QuantizedFormat = "q8" | "q4" | "q4a";

/** Elements that share one scale (and min). */
export const GROUP = 32;

/** Rows of a matrix in one format; `scales` for quantised formats only. */
export interface WeightRows {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly columns: number;
  readonly data: Uint8Array;
  readonly scales?: Uint8Array;
  /** Gives their memory back to whoever read them, where that can use it again; they are gone then. */
  readonly release?: () => void;
}

const BITS: Record<WeightFormat, number> = { f32: 32, f16: 16, bf16: 16, q8: 8, q4: 4, q4a: 4 };

/** Bytes that a group of 32 has in the scale plane. */
const SCALE_BYTES: Record<QuantizedFormat, number> = { q8: 2, q4: 2, q4a: 4 };

export const isQuantized = (format: WeightFormat): format is QuantizedFormat => format in SCALE_BYTES;

/** Bytes of the data plane of `elements` weights. */
export const dataBytes = (format: WeightFormat, elements: number): number => (elements * BITS[format]) / 8;

/** Bytes of the scale plane of `elements` weights (0 where the format has none). */
export const scaleBytes = (format: WeightFormat, elements: number): number =>
  isQuantized(format) ? (elements / GROUP) * SCALE_BYTES[format] : 0;

/**
 * What a tensor is for, which decides how far it may be quantised: `matrix` as asked; `embedding` and `head` at most to
 * q8; `sensitive` (router, gates of the delta rule) to bf16 and not beyond; `vector` (norms, convolution, decay) always f32.
 */
export type WeightRole = "matrix" | "embedding" | "head" | "sensitive" | "vector";

/** One matrix of the model as a checkpoint offers it, in canonical row order and convention (docs/weights.md). */
export interface WeightSource {
  readonly label: string;
  readonly rows: number;
  readonly columns: number;
  /** The format in which `read` gives it. */
  readonly format: WeightFormat;
  /** What `auto` makes of it on the device, where that is not `format`. */
  readonly auto?: WeightFormat;
  readonly role: WeightRole;
  /** Rows that are stored together: reads of whole multiples, from a multiple on, cost least. */
  readonly partRows?: number;
  /** Bytes that are best asked for in one turn; as few as one likes where it does not say. */
  readonly turnBytes?: number;
  /** The rows [from, to). */
  read(from: number, to: number, signal?: AbortSignal): Promise<WeightRows>;
}
