import { describe, expect, test } from "vitest";
import type { Sampled } from "../../src/engine/runner.ts";
import { DrawGate, drawsOf } from "../../src/stages/draw-gate.ts";
import type { StageMessage, StageRow } from "../../src/stages/messages.ts";

const row = (slot: number, token?: number): StageRow => ({ slot, token, position: 7, blocks: [slot] });
const decode = (id: number, ...rows: StageRow[]) => ({ kind: "decode", id, rows }) as const;
const prefill = (id: number) => ({ kind: "prefill", id, steps: [] }) as const;

/** What the last stage draws: by slot a token, or -1 for a reply that had ended. */
function drawn(id: number, tokens: Record<number, number>, last: readonly number[] = []): StageMessage {
  const sampled = Object.entries(tokens).map(([slot, token]): Sampled | undefined =>
    token < 0
      ? undefined
      : { slot: Number(slot), token, isLast: last.includes(Number(slot)), isFinite: true, position: 7 },
  );
  return { kind: "drawn", id, sampled };
}

function open() {
  const sent: StageMessage[] = [];
  const gate = new DrawGate((message) => sent.push(message));
  const know = (result: StageMessage) => gate.know(drawsOf(result)!);
  return { gate, know, sent, take: () => sent.splice(0) };
}

describe("a row that goes on from a draw", () => {
  test("waits for it, with all that comes behind it and nothing else", () => {
    const { gate, know, take } = open();
    gate.receive(decode(1, row(0, 11), row(1, 12)));
    gate.receive(prefill(2));
    expect(take().map((message) => "id" in message && message.id)).toEqual([1, 2]);
    gate.receive(decode(3, row(0), row(2, 13)));
    gate.receive({ kind: "copyState", from: 0, to: 5 });
    gate.receive(decode(4, row(1)));
    know({ kind: "drawn", id: 2, sampled: [] });
    expect(take()).toEqual([]);
    know(drawn(1, { 0: 21, 1: 22 }));
    expect(take()).toEqual([
      decode(3, row(0, 21), row(2, 13)),
      { kind: "copyState", from: 0, to: 5 },
      decode(4, row(1, 22)),
    ]);
    gate.receive(decode(5, row(0), row(2)));
    know(drawn(4, { 1: 31 }));
    expect(take()).toEqual([]);
    know(drawn(3, { 0: 32, 2: 33 }));
    expect(take()).toEqual([decode(5, row(0, 32), row(2, 33))]);
  });

  test("is left out, and its mask, where the reply has ended", () => {
    const { gate, know, take } = open();
    gate.receive(decode(1, row(0, 11), row(1, 12), row(2, 13)));
    const mask = new Uint32Array([5]);
    gate.receive({ ...decode(2, row(0), row(1), row(2), row(3, 14)), masks: [undefined, undefined, undefined, mask] });
    take();
    know(drawn(1, { 0: 21, 1: 22, 2: -1 }, [0]));
    expect(take()).toEqual([{ ...decode(2, row(1, 22), row(3, 14)), masks: [undefined, mask] }]);
    // Who went on without it does not hear of it either.
    gate.receive(decode(3, row(0), row(1)));
    know(drawn(2, { 1: 23, 3: 24 }, [1]));
    expect(take()).toEqual([{ kind: "drawn", id: 3, sampled: [] }]);
    gate.receive(decode(4, row(1)));
    expect(take()).toEqual([{ kind: "drawn", id: 4, sampled: [] }]);
  });

  test("fails with what it goes on from; the slot's next sequence does not", () => {
    const { gate, know, take } = open();
    gate.receive(decode(1, row(0, 11)));
    gate.receive(decode(2, row(0)));
    gate.receive(decode(3, row(0)));
    take();
    know({ kind: "failed", id: 1, message: "gone", areStatesLost: true });
    expect(take()).toEqual([2, 3].map((id) => ({ kind: "failed", id, message: "gone", areStatesLost: true })));
    gate.receive({ kind: "reset" });
    gate.receive(decode(4, row(0, 12)));
    gate.receive(decode(5, row(0)));
    expect(take()).toEqual([{ kind: "reset" }, decode(4, row(0, 12))]);
    know(drawn(4, { 0: 13 }));
    expect(take()).toEqual([decode(5, row(0, 13))]);
  });
});
