/**
 * The tokens that one step runs: the rows of every activation. Rows of one sequence are adjacent and in order. How ids,
 * positions and block tables reach an op is between the op and whoever made the batch.
 */
export interface Batch {
  /** Rows that ops must produce; a recorded plan runs up to this many. */
  readonly maxTokens: number;
  readonly maxSequences: number;
  /** One token per sequence: recurrent kernels instead of chunked ones, matrix-vector instead of matrix-matrix. */
  readonly kind: "prefill" | "decode";
}
