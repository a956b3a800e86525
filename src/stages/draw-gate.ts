import type { Draws, StageMessage, StageResult, StageRow } from "./messages.ts";

/**
 * What stands before the first stage. A row that goes on from what the step before draws waits here until the last stage has
 * told, and with it all that comes after. Rows whose reply has ended are left out.
 */
export class DrawGate {
  readonly #send: (message: StageMessage) => void;
  readonly #waiting: StageMessage[] = [];
  /** By slot, of the last step that passed. */
  readonly #draws = new Map<number, Draw>();

  constructor(send: (message: StageMessage) => void) {
    this.#send = send;
  }

  receive(message: StageMessage): void {
    this.#waiting.push(message);
    this.#flush();
  }

  /** Takes what the last stage has drawn. */
  know(draws: Draws): void {
    for (const [slot, draw] of this.#draws) {
      if (draw.id !== draws.id) continue;
      draw.isPending = false;
      if (draws.kind === "drawn") draw.token = draws.tokens.find(([of]) => of === slot)?.[1];
      else draw.failure = draws;
    }
    this.#flush();
  }

  #flush(): void {
    for (let next = this.#waiting[0]; next && !this.#isPending(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#send(next.kind === "decode" ? this.#complete(next) : next);
    }
  }

  #isPending(message: StageMessage): boolean {
    return message.kind === "decode" && this.#goesOn(message.rows).some((draw) => draw?.isPending);
  }

  /** What rows without a token go on from. */
  #goesOn(rows: readonly StageRow[]): (Draw | undefined)[] {
    return rows.filter(({ token }) => token === undefined).map(({ slot }) => this.#draws.get(slot));
  }

  /** The step with all tokens, or what it gives without being taken. */
  #complete(step: Extract<StageMessage, { kind: "decode" }>): StageMessage {
    const { id } = step;
    const failure = this.#goesOn(step.rows).find((draw) => draw?.failure)?.failure;
    const known = step.rows.map((row) => ({ ...row, token: row.token ?? this.#draws.get(row.slot)?.token }));
    const isLive = (_: unknown, i: number) => !failure && known[i].token !== undefined;
    for (const [i, { slot }] of known.entries()) this.#draws.set(slot, { id, isPending: isLive(slot, i), failure });
    if (failure) return { ...failure, id };
    const rows = known.filter(isLive);
    return rows.length > 0 ? { ...step, rows, masks: step.masks?.filter(isLive) } : { kind: "drawn", id, sampled: [] };
  }
}

/** What a row draws, or has drawn. */
interface Draw {
  readonly id: number;
  isPending: boolean;
  /** Undefined where its reply has ended. */
  token?: number;
  failure?: Extract<StageResult, { kind: "failed" }>;
}

/** What the gate has to know of a result. */
export function drawsOf(result: StageMessage): Draws | undefined {
  if (result.kind === "failed") return result;
  if (result.kind !== "drawn") return undefined;
  const going = result.sampled.filter((one) => one !== undefined && !one.isLast);
  return { kind: "drawn", id: result.id, tokens: going.map((one) => [one!.slot, one!.token]) };
}
