import type { AttentionShape, DeltaShape, KVCache, RecurrentState } from "../ops/ops.ts";
import type { HostSequence } from "./host-batch.ts";

/** Keys (rotated) and values, [block][position in block][keyValueHeads · headDim]. */
export interface HostKVCache extends KVCache {
  /** Positions of one block. */
  readonly blockSize: number;
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

export interface HostRecurrentState extends RecurrentState {
  /** [slot][taps − 1][channels], the oldest input first. */
  readonly conv: Float32Array;
  /** [slot][valueHeads][keyDim][valueDim] */
  readonly delta: Float32Array;
}

export type HostLayerState = HostKVCache | HostRecurrentState;

export function hostKVCache(shape: AttentionShape, blocks: number, blockSize: number): HostKVCache {
  const size = blocks * blockSize * shape.keyValueHeads * shape.headDim;
  return { kind: "kv", blockSize, keys: new Float32Array(size), values: new Float32Array(size) };
}

export function hostRecurrentState(shape: DeltaShape, slots: number): HostRecurrentState {
  return {
    kind: "recurrent",
    conv: new Float32Array(slots * (shape.convTaps - 1) * deltaChannels(shape)),
    delta: new Float32Array(slots * shape.valueHeads * shape.keyDim * shape.valueDim),
  };
}

/** Inputs of the convolution: queries, keys and values of all heads. */
export const deltaChannels = ({ keyHeads, valueHeads, keyDim, valueDim }: DeltaShape): number =>
  2 * keyHeads * keyDim + valueHeads * valueDim;

/** The row of the cache that holds `position`. */
export const cacheRow = ({ blockSize }: HostKVCache, { blockTable }: HostSequence, position: number): number =>
  blockTable[Math.floor(position / blockSize)] * blockSize + (position % blockSize);
