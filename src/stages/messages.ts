import type { DecodeRow, ResolvedSampling, Sampled, SequenceStep } from "../engine/runner.ts";

/** What steps are to a stage: no functions. Tokens that rows go on from are filled in before the first stage. */
type StageStep = Omit<SequenceStep, "mask">;
export type StageRow = Omit<DecodeRow, "mask">;

/** Bits of tokens by row, for rows that may not draw all. */
export type Masks = readonly (Uint32Array<ArrayBuffer> | undefined)[];

/** A step, on its way through the stages. From the second on, `hidden` [rows, H] is what the stage before has left. */
export type StageWork =
  | {
      readonly kind: "prefill";
      readonly id: number;
      readonly steps: readonly StageStep[];
      readonly masks?: Masks;
      readonly hidden?: Float32Array<ArrayBuffer>;
    }
  | {
      readonly kind: "decode";
      readonly id: number;
      readonly rows: readonly StageRow[];
      readonly masks?: Masks;
      readonly hidden?: Float32Array<ArrayBuffer>;
    }
  | {
      readonly kind: "score";
      readonly id: number;
      readonly step: StageStep;
      readonly hidden?: Float32Array<ArrayBuffer>;
    };

/** All that goes from one stage to the next, in the order in which it takes effect. */
export type StageMessage =
  | StageWork
  | { readonly kind: "copyState" | "copyBlock"; readonly from: number; readonly to: number }
  /** No state is of any use any more. */
  | { readonly kind: "reset" }
  | {
      readonly kind: "setSampling";
      readonly slot: number;
      readonly sampling: ResolvedSampling;
      readonly prompt: ArrayLike<number>;
      readonly reply?: ArrayLike<number>;
    }
  | StageResult;

/** What comes out of the last stage. */
export type StageResult =
  | { readonly kind: "drawn"; readonly id: number; readonly sampled: readonly (Sampled | undefined)[] }
  | { readonly kind: "scored"; readonly id: number; readonly logits: Float32Array }
  | { readonly kind: "failed"; readonly id: number; readonly message: string; readonly areStatesLost?: boolean };

/** What the last stage tells the first, which goes on from it: tokens by slot, of replies that have not ended. */
export type Draws =
  | {
      readonly kind: "drawn";
      readonly id: number;
      readonly tokens: readonly (readonly [slot: number, token: number])[];
    }
  | Extract<StageResult, { kind: "failed" }>;
