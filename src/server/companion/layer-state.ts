import type { OpenMessage, StepMessage, StepSequence } from "../../companion/protocol.ts";
import type { SequenceStep } from "../../engine/runner.ts";
import type { LayerHost, OpenLayers } from "../../runner/layer-host.ts";
import { malformed } from "./malformed.ts";

/** Turns that may have come and not been taken, or have been answered and not been acknowledged. */
const WINDOW = 64;

type Rows = Float32Array<ArrayBuffer>;

/** One page's states of some layers. Each turn is taken once and in order, however often it is asked for. */
export class LayerState {
  readonly #layers: OpenLayers;
  readonly #hidden: number;
  readonly #answers = new Map<number, Promise<Rows>>();
  /** Starts turns that came before their time. */
  readonly #early = new Map<number, () => void>();
  #next = 0;
  /** KV blocks by slot. */
  readonly #tables = new Map<number, readonly number[]>();

  private constructor(layers: OpenLayers, hidden: number) {
    this.#layers = layers;
    this.#hidden = hidden;
  }

  static async open(host: LayerHost, sizes: OpenMessage): Promise<LayerState> {
    return new LayerState(await host.open(sizes), host.hidden);
  }

  /** The rows that a step gives back. Where this fails, the states are of no use any more. */
  take(message: StepMessage, hidden: Rows): Promise<Rows> {
    const { turn, answered } = message;
    for (const known of this.#answers.keys()) if (known < answered) this.#answers.delete(known);
    const known = this.#answers.get(turn);
    if (known) return known;
    if (turn < this.#next || turn >= answered + WINDOW) throw malformed(`turn ${turn}, with ${this.#next} the next.`);
    const answer = new Promise<Rows>((resolve) => {
      this.#early.set(turn, () => resolve(this.#run(message, hidden)));
    });
    answer.catch(() => {});
    this.#answers.set(turn, answer);
    for (let start = this.#early.get(this.#next); start; start = this.#early.get(this.#next)) {
      this.#early.delete(this.#next++);
      start();
    }
    return answer;
  }

  dispose(): void {
    this.#layers.dispose();
  }

  async #run({ work, copies, sequences }: StepMessage, hidden: Rows): Promise<Rows> {
    const { slots, blocks, maxSequences, maxPrefillSequences, maxBatchTokens } = this.#layers.limits;
    for (const { what, from, to } of copies) {
      const count = what === "state" ? slots : blocks;
      if (from >= count || to >= count || from === to) throw malformed(`no copy of ${what} ${from} to ${to}.`);
      if (what === "state") this.#layers.copyState(from, to);
      else this.#layers.copyBlock(from, to);
    }
    const total = sequences.reduce((sum, { rows }) => sum + rows, 0);
    const [most, mostRows] = work === "decode" ? [maxSequences, maxSequences] : [maxPrefillSequences, maxBatchTokens];
    if (sequences.length > most || total > mostRows || hidden.length !== total * this.#hidden) {
      throw malformed(`${4 * hidden.length} bytes are not ${total} rows of ${sequences.length} sequences.`);
    }
    if (new Set(sequences.map(({ slot }) => slot)).size < sequences.length) throw malformed("one slot is named twice.");
    const steps = sequences.map((sequence) => this.#step(sequence, work));
    return this.#kept(sequences, await this.#layers.pass({ kind: work, steps, hidden }));
  }

  #step({ slot, position, rows, keep, same, blocks }: StepSequence, work: StepMessage["work"]): SequenceStep {
    const { maxSequences, maxContext, blockTokens, blocks: count } = this.#layers.limits;
    const had = this.#tables.get(slot) ?? [];
    const table = [...had.slice(0, same), ...blocks];
    const isKnown = slot < maxSequences && position + rows <= maxContext && keep <= rows && same <= had.length;
    const isCovered =
      position + rows <= table.length * blockTokens && table.length <= Math.ceil(maxContext / blockTokens);
    if (!isKnown || !isCovered || blocks.some((block) => block >= count) || (work === "decode" && rows !== 1)) {
      throw malformed(`${rows} rows from ${position} on of slot ${slot} are not of these states.`);
    }
    this.#tables.set(slot, table);
    // What the tokens are is not said; only their number counts.
    return { tokens: new Uint32Array(rows), position, slot, blocks: table };
  }

  #kept(sequences: readonly StepSequence[], left: Rows): Rows {
    const parts: Rows[] = [];
    let end = 0;
    for (const { rows, keep } of sequences) {
      end += rows;
      parts.push(left.subarray((end - keep) * this.#hidden, end * this.#hidden));
    }
    if (parts.length === 1) return parts[0];
    const kept = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      kept.set(part, at);
      at += part.length;
    }
    return kept;
  }
}
