import type { Stop } from "../gpu/recorder.ts";
import { MISSING } from "./expert-slots.ts";

/** How the words of a report begin; the device writes them (shaders/moe/locate-experts.wgsl), the host reads. */
export const REPORT = {
  /** The sparse layer that stopped the plan, counted from 1; 0 where none did. */
  stoppedBy: 0,
  /** How missing experts are met. */
  mode: 1,
  /** Rows, sequences and draws of the batch, which a stop takes away. */
  counts: 2,
} as const;

/** Bytes of the batch's counts. */
export const COUNTS_BYTES = 12;

export const MODE = { stop: 0, partial: 1 } as const;

/** The experts [rows, topK] that a layer's rows chose; MISSING in rows of no sequence. */
export function chosenIn(report: Uint32Array, { topK, chosenAt }: Stop): Uint32Array {
  return report.slice(chosenAt, chosenAt + report[REPORT.counts] * topK);
}

/** The experts that the next layer's router expects: those of `ranks` best places of every row, best first. */
export function expectedIn(report: Uint32Array, { expected, expectedAt }: Stop, ranks = expected): number[] {
  const rows = report[REPORT.counts];
  const found = new Set<number>();
  for (let rank = 0; rank < ranks; rank++) {
    for (let row = 0; row < rows; row++) found.add(report[expectedAt + row * expected + rank]);
  }
  return [...found];
}

/** Words up to the end of what a stop tells. */
export const reportEnd = ({ chosenAt, expectedAt, topK, expected }: Stop): number =>
  expectedAt + ((expectedAt - chosenAt) / topK) * expected;

/** The experts that a step needs of a layer. */
export const distinct = (chosen: Uint32Array): Set<number> => new Set(chosen.filter((expert) => expert !== MISSING));
