import type { LayerPasses } from "../api/types.ts";
import type { SequenceStep } from "../engine/runner.ts";
import { CompanionError, LLMError } from "../errors.ts";
import type { StageMessage, StageWork } from "../stages/messages.ts";
import { floats } from "./frames.ts";
import type { Link } from "./link.ts";
import type { Gone, OpenMessage, StepMessage, StepSequence } from "./protocol.ts";

/** Which layers, and how many states of them. */
export type RemoteLayersOptions = Omit<OpenMessage, "kind" | "id" | "state">;

/** States in a row that were lost before a step was done with them. */
const MAX_LOSSES = 5;

const LOST = "The companion has lost the states of its layers.";

/** States at the companion, from their opening until they are lost. */
interface States {
  readonly name: string;
  readonly opened: Promise<unknown>;
  isLost: boolean;
  next: number;
  readonly unanswered: Set<number>;
  /** KV blocks by slot, as the companion knows them. */
  readonly tables: Map<number, readonly number[]>;
  copies: StepMessage["copies"][number][];
}

/**
 * Layers at the other end of a link, as one of a chain of stages. Only rows, positions, slots and blocks go there. What comes
 * back are the rows after which something is drawn, and the next stage gets to see those alone.
 */
export class RemoteLayers {
  readonly #link: Link;
  readonly #options: RemoteLayersOptions;
  readonly #send: (message: StageMessage) => void;
  readonly #fail: (error: LLMError) => void;
  #states: States;
  #sent: Promise<void> = Promise.resolve();
  #losses = 0;
  readonly passes: { -readonly [K in keyof LayerPasses]: number } = { count: 0, rows: 0, waitMs: 0 };

  private constructor(
    link: Link,
    options: RemoteLayersOptions,
    send: (message: StageMessage) => void,
    fail: (error: LLMError) => void,
  ) {
    this.#link = link;
    this.#options = options;
    this.#send = send;
    this.#fail = fail;
    this.#states = this.#open();
  }

  /**
   * @param fail is called once nothing more can be expected of the companion
   * @throws CompanionError
   */
  static async open(
    link: Link,
    options: RemoteLayersOptions,
    send: (message: StageMessage) => void,
    fail: (error: LLMError) => void,
  ): Promise<RemoteLayers> {
    const layers = new RemoteLayers(link, options, send, fail);
    await layers.#states.opened;
    return layers;
  }

  receive(message: StageMessage): void {
    switch (message.kind) {
      case "prefill":
      case "decode":
      case "score":
        this.#forward(this.#run(message));
        return;
      case "copyState":
      case "copyBlock": {
        const what = message.kind === "copyState" ? "state" : "block";
        this.#states.copies.push({ what, from: message.from, to: message.to });
        return;
      }
      case "reset":
        this.#states = this.#open();
        return;
      default:
        // What draws needs to know how, and nobody else does.
        this.#forward(message);
    }
  }

  #open(): States {
    const name = crypto.randomUUID();
    const opened = this.#link.call({ kind: "open", state: name, ...this.#options });
    // Whoever steps meets it.
    opened.catch(() => {});
    return { name, opened, isLost: false, next: 0, unanswered: new Set(), tables: new Map(), copies: [] };
  }

  #forward(message: StageMessage | Promise<StageMessage>): void {
    this.#sent = this.#sent.then(async () => this.#send(await message));
  }

  /** Takes its turn at once. */
  #run(work: StageWork): Promise<StageMessage> {
    const states = this.#states;
    const { id } = work;
    const lost = { kind: "failed", id, message: LOST, areStatesLost: true } as const;
    if (states.isLost) return Promise.resolve(lost);
    const sequences = sequencesOf(work, states.tables);
    const copies = states.copies;
    states.copies = [];
    const turn = states.next++;
    states.unanswered.add(turn);
    return this.#step(states, work, { kind: "step", turn, copies, sequences }).then(
      (kept) => (kept ? drawing(work, kept) : lost),
      (error: Error) => {
        if (error instanceof LLMError) this.#fail(error);
        return { kind: "failed", id, message: error.message };
      },
    );
  }

  /** The rows that are wanted; undefined where the states are lost. */
  async #step(
    states: States,
    { kind, hidden }: StageWork,
    step: Pick<StepMessage, "kind" | "turn" | "copies" | "sequences">,
  ): Promise<Float32Array<ArrayBuffer> | undefined> {
    const { name, unanswered } = states;
    await states.opened;
    const startMs = performance.now();
    const { header, payload } = await this.#link.call(
      {
        ...step,
        state: name,
        answered: Math.min(...unanswered),
        work: kind === "decode" ? "decode" : "prefill",
      },
      [hidden!],
    );
    if ((header.value as Gone | undefined)?.isGone) {
      if (!states.isLost && ++this.#losses >= MAX_LOSSES) throw new CompanionError("lost", `${LOST} Again and again.`);
      states.isLost = true;
      return undefined;
    }
    this.#losses = 0;
    unanswered.delete(step.turn);
    this.passes.count++;
    this.passes.rows += step.sequences.reduce((sum, { rows }) => sum + rows, 0);
    this.passes.waitMs += performance.now() - startMs;
    return floats(payload);
  }
}

function sequencesOf(work: StageWork, tables: States["tables"]): StepSequence[] {
  const sequence = ({ slot, position, blocks }: Omit<SequenceStep, "tokens">, rows: number, keep: number) => {
    const had = tables.get(slot) ?? [];
    const table = Array.from(blocks);
    let same = 0;
    while (same < table.length && table[same] === had[same]) same++;
    tables.set(slot, table);
    return { slot, position, rows, keep, same, blocks: table.slice(same) };
  };
  switch (work.kind) {
    case "prefill":
      return work.steps.map((step) => sequence(step, step.tokens.length, step.sample ? 1 : 0));
    case "decode":
      return work.rows.map((row) => sequence(row, 1, 1));
    case "score":
      return [sequence(work.step, work.step.tokens.length, work.step.tokens.length)];
  }
}

/** What is left to do of a step for whoever draws: `hidden` are the last rows of those that do. */
function drawing(work: StageWork, hidden: Float32Array<ArrayBuffer>): StageMessage {
  if (work.kind !== "prefill") return { ...work, hidden };
  const { id, steps, masks } = work;
  // Those that draw come first.
  const last = steps
    .filter(({ sample }) => sample)
    .map((step) => {
      const { length } = step.tokens;
      return { ...step, tokens: [step.tokens[length - 1]], position: step.position + length - 1 };
    });
  if (last.length === 0) return { kind: "drawn", id, sampled: [] };
  return { kind: "prefill", id, steps: last, masks, hidden };
}
