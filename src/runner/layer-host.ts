import type { RunnerLimits, SequenceStep } from "../engine/runner.ts";
import type { BranchOptions } from "./branch.ts";

/** A model's layers somewhere, for others to run: each with states of its own. */
export interface LayerHost {
  readonly count: number;
  /** Columns of a row. */
  readonly hidden: number;
  /** Rows of a step at most. */
  readonly maxBatchTokens: number;
  /** What `open` takes. */
  bytes(options: BranchOptions): number | Promise<number>;
  /** @throws OutOfMemoryError, DeviceLostError */
  open(options: BranchOptions): Promise<OpenLayers>;
}

/** Whatever is called takes effect in the order of the calls. */
export interface OpenLayers {
  readonly limits: RunnerLimits;
  /** What the last layer leaves [rows, hidden] of the rows of the steps, one after another. */
  pass(step: {
    readonly kind: "prefill" | "decode";
    readonly steps: readonly SequenceStep[];
    readonly hidden?: Float32Array<ArrayBuffer>;
  }): Promise<Float32Array<ArrayBuffer>>;
  copyState(from: number, to: number): void;
  copyBlock(from: number, to: number): void;
  dispose(): void;
}
