/** Experts somewhere: what they make of some rows of a layer's input. */
export interface ExpertHost {
  readonly shape: ExpertShape;
  /** Not to be done without, even where the experts could be brought here. */
  readonly isVital?: boolean;
  /** [rows, hidden]: of every row the sum of its experts' results, each times its weight. */
  sum(layer: number, input: ExpertInput): Promise<Float32Array<ArrayBuffer>>;
}

export interface ExpertShape {
  /** Sparse layers, the experts of each, how many of them a row may name, and columns of a row. */
  readonly layers: number;
  readonly experts: number;
  readonly topK: number;
  readonly hidden: number;
}

export interface ExpertInput {
  /** [rows, hidden] */
  readonly x: Float32Array<ArrayBuffer>;
  /** [rows, topK]: experts, any number of times where its weight is 0. */
  readonly ids: Uint32Array<ArrayBuffer>;
  /** [rows, topK] */
  readonly weights: Float32Array<ArrayBuffer>;
}
