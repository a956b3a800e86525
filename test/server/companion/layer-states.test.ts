import { expect, it, vi } from "vitest";
import type { OpenMessage, StepMessage } from "../../../src/companion/protocol.ts";
import type { LayerHost } from "../../../src/runner/layer-host.ts";
import { LayerStates } from "../../../src/server/companion/layer-states.ts";

const LIMITS = {
  maxContext: 128,
  maxBatchTokens: 4,
  maxSequences: 2,
  maxPrefillSequences: 2,
  slots: 3,
  blockTokens: 64,
  blocks: 3,
  vocabularySize: 96,
};

/** Layers of two columns that add how many steps they have taken. */
class CountingHost implements LayerHost {
  readonly count = 4;
  readonly hidden = 2;
  readonly maxBatchTokens = 4;
  held = 0;
  copies = 0;
  bytes = () => 100;
  async open() {
    let steps = 0;
    this.held++;
    return {
      limits: LIMITS,
      pass: async ({ hidden }: { hidden?: Float32Array<ArrayBuffer> }) => {
        const taken = ++steps;
        return hidden!.map((x) => x + taken);
      },
      copyState: () => {
        this.copies++;
      },
      copyBlock: () => {
        this.copies++;
      },
      dispose: () => {
        this.held--;
      },
    };
  }
}

const [LINK, OTHER_LINK] = [{}, {}];
const NAME = "an unguessable name";

const sizes = { maxContext: 128, maxBatchTokens: 4, maxSequences: 2, snapshots: 1, cacheTokens: 128 };
const open = (state = NAME): OpenMessage => ({ kind: "open", id: 1, state, from: 1, to: 4, ...sizes });

const step = (turn: number, more: Partial<StepMessage> = {}): StepMessage => ({
  kind: "step",
  id: 2,
  state: NAME,
  turn,
  answered: 0,
  work: "decode",
  copies: [],
  sequences: [{ slot: 0, position: turn, rows: 1, keep: 1, same: turn === 0 ? 0 : 1, blocks: turn === 0 ? [0] : [] }],
  ...more,
});

const rows = (...values: number[]) => Float32Array.from(values);

async function opened(maxBytes = 250) {
  const host = new CountingHost();
  const states = new LayerStates(maxBytes);
  await states.open("key", LINK, host, open());
  return { host, states };
}

it("takes each turn once and in order, however often and whenever it comes", async () => {
  const { states } = await opened();
  const late = states.step("key", LINK, step(1), rows(10, 10));
  const first = states.step("key", LINK, step(0), rows(0, 0));
  expect(await first).toEqual(rows(1, 1));
  expect(await late).toEqual(rows(12, 12));
  expect(await states.step("key", OTHER_LINK, step(1), rows(10, 10))).toEqual(rows(12, 12));
  expect(await states.step("key", LINK, step(2, { answered: 1 }), rows(0, 0))).toEqual(rows(3, 3));
  // Its answer has come, so nobody asks again.
  await expect(states.step("key", LINK, step(0), rows(0, 0))).rejects.toMatchObject({ reason: "malformed" });
});

it("gives back the last rows that are wanted", async () => {
  const { states, host } = await opened();
  const sequences = [
    { slot: 0, position: 0, rows: 2, keep: 1, same: 0, blocks: [0] },
    { slot: 1, position: 0, rows: 2, keep: 0, same: 0, blocks: [1] },
  ];
  const copies = [{ what: "state", from: 0, to: 2 } as const, { what: "block", from: 0, to: 1 } as const];
  const prefill = step(0, { work: "prefill", sequences, copies });
  expect(await states.step("key", LINK, prefill, rows(1, 2, 3, 4, 5, 6, 7, 8))).toEqual(rows(4, 5));
  expect(host.copies).toBe(2);
});

it("keeps states to the key that opened them, and to what it may have", async () => {
  const { states, host } = await opened();
  expect(await states.step("another", OTHER_LINK, step(0), rows(0, 0))).toBeUndefined();
  await states.open("key", LINK, host, open("another unguessable name"));
  const third = open("a third unguessable name");
  await expect(states.open("key", LINK, host, third)).rejects.toMatchObject({ reason: "busy" });
  await states.open("another", OTHER_LINK, host, third);
  expect(host.held).toBe(3);
  await expect(states.open("key", LINK, undefined, open("a fourth name, as long"))).rejects.toMatchObject({
    reason: "model",
  });
});

it("keeps them for a while when a link breaks, and makes room of those", async () => {
  const { states, host } = await opened(100);
  states.leave(LINK);
  await states.open("key", OTHER_LINK, host, open());
  expect(await states.step("key", OTHER_LINK, step(0), rows(0, 0))).toEqual(rows(1, 1));
  states.leave(LINK);
  await expect(states.open("key", LINK, host, open("another unguessable name"))).rejects.toMatchObject({
    reason: "busy",
  });
  states.leave(OTHER_LINK);
  await states.open("key", LINK, host, open("another unguessable name"));
  expect(await states.step("key", OTHER_LINK, step(1), rows(0, 0))).toBeUndefined();
  states.forget(LINK);
  await expect.poll(() => host.held).toBe(0);
});

it("frees those that nobody comes back for", async () => {
  vi.useFakeTimers();
  const { states, host } = await opened();
  states.leave(LINK);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(host.held).toBe(0);
  vi.useRealTimers();
});

const row = step(0).sequences[0];

it.each<[string, Partial<StepMessage>, number]>([
  ["a turn far ahead", { turn: 64 }, 2],
  ["too few rows", {}, 1],
  ["too many rows", { work: "prefill", sequences: [{ ...row, rows: 5 }] }, 10],
  ["a slot that there is not", { sequences: [{ ...row, slot: 2 }] }, 2],
  ["a block that there is not", { sequences: [{ ...row, blocks: [3] }] }, 2],
  ["a slot twice", { sequences: [row, row] }, 4],
  ["a decode of two rows", { sequences: [{ ...row, rows: 2 }] }, 4],
  ["blocks that it never had", { sequences: [{ ...row, same: 1 }] }, 2],
  ["too few blocks", { sequences: [{ ...row, position: 64 }] }, 2],
  ["a position beyond the context", { sequences: [{ ...row, position: 128, blocks: [0, 1, 2] }] }, 2],
  ["more rows back than there are", { sequences: [{ ...row, keep: 2 }] }, 2],
  ["a copy to nowhere", { copies: [{ what: "state", from: 0, to: 3 }] }, 2],
  ["a copy onto itself", { copies: [{ what: "block", from: 1, to: 1 }] }, 2],
])("ends what speaks of %s", async (_, more, length) => {
  const { states, host } = await opened();
  const wrong = (async () => states.step("key", LINK, step(0, more), new Float32Array(length)))();
  await expect(wrong).rejects.toMatchObject({ name: "CompanionError", reason: "malformed" });
  expect(host.held).toBe(0);
});
