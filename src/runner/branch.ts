import type { Allocator, Device } from "../gpu/device.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { partBytes, type RunnerOptions, type RunnerParts, runnerParts } from "./memory-plan.ts";

/** The layers [from, to), and how many states of them are wanted. */
export interface BranchOptions
  extends Pick<RunnerOptions, "maxContext" | "maxBatchTokens" | "snapshots" | "maxSequences" | "cacheTokens"> {
  readonly from: number;
  readonly to: number;
}

export interface Branch {
  readonly weights: ModelWeights<GpuWeight>;
  readonly parts: RunnerParts;
  /** All that is to be given back. */
  readonly buffers: readonly GPUBuffer[];
}

/** Bytes that a branch takes besides scratch, which it shares. */
export function branchBytes(of: RunnerOptions, options: BranchOptions, hidden: number): number {
  const own = partBytes(runnerParts(branchRunner(of, options)));
  return Object.values(own).reduce((a, b) => a + b, 4 * incomingRows(options) * hidden);
}

/**
 * What a runner of some layers needs besides weights that are there: states of its own, and a table for the rows that come
 * in. @throws OutOfMemoryError
 */
export async function makeBranch(
  device: Device,
  of: RunnerOptions,
  { layers, finalNorm, embedding }: ModelWeights<GpuWeight>,
  options: BranchOptions,
): Promise<Branch> {
  const buffers: GPUBuffer[] = [];
  const allocator: Allocator = {
    queue: device.queue,
    buffer: (...args) => {
      const buffer = device.buffer(...args);
      buffers.push(buffer);
      return buffer;
    },
  };
  const [rows, { columns }] = [incomingRows(options), embedding];
  try {
    return await device.allocating("a page's state", branchBytes(of, options, columns), () => {
      const parts = runnerParts(branchRunner(of, options), allocator);
      const label = "rows of a page";
      const data = allocator.buffer(label, 4 * rows * columns);
      const incoming: GpuWeight = { kind: "weight", label, rows, columns, format: "f32", data };
      const own = { embedding: incoming, layers: layers.slice(options.from, options.to), finalNorm, head: incoming };
      return { weights: own, parts, buffers };
    });
  } catch (error) {
    device.free(buffers);
    throw error;
  }
}

const incomingRows = ({ maxBatchTokens, maxSequences = 1 }: BranchOptions) => Math.max(maxBatchTokens, maxSequences);

const branchRunner = ({ config, ...rest }: RunnerOptions, { from, to, ...sizes }: BranchOptions): RunnerOptions => ({
  ...rest,
  ...sizes,
  config: { ...config, layers: config.layers.slice(from, to) },
  isInner: true,
});
