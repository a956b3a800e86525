import type { GpuBuffer } from "../../gpu/resources.ts";
import type { KVCache, RecurrentState } from "../ops.ts";

/** Keys and values, each [block][key-value head][token in block][headDim], in f32 or f16. */
export interface GpuKVCache extends KVCache {
  readonly format: "f32" | "f16";
  readonly keys: GpuBuffer;
  readonly values: GpuBuffer;
}

/** Raw inputs that a sequence's convolution keeps: a ring over positions, so that going back some tokens needs no copy. */
export const CONV_RING = 8;

/** State of a gated delta layer in f32; a slot per sequence. Position 0 never reads it, so a slot needs no clearing. */
export interface GpuRecurrentState extends RecurrentState {
  /** [slot][position mod CONV_RING][channel] */
  readonly conv: GpuBuffer;
  /** [slot][value head][value dim][key dim]: a column of S is contiguous. */
  readonly delta: GpuBuffer;
}
