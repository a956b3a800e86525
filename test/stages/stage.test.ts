import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import type { StageMessage } from "../../src/stages/messages.ts";
import { Stage } from "../../src/stages/stage.ts";

const step = (id: number): StageMessage => ({
  kind: "decode",
  id,
  rows: [{ slot: 0, position: id, blocks: [0], token: 1 }],
});

/** A stage whose steps take a moment, and what it asked of its device. */
function open(options: { readonly staysAwake?: boolean }) {
  const calls: string[] = [];
  let tell = () => {};
  const runner = {
    pass: async () => new Float32Array(4),
    encodeAhead: () => calls.push("encode"),
    keepAwake: () => calls.push("awake"),
  } as unknown as ModelRunner;
  const stage = new Stage(runner, false, () => tell(), options);
  const run = (...ids: number[]) => {
    const done = new Promise<void>((resolve) => {
      let left = ids.length;
      tell = () => {
        if (--left === 0) resolve();
      };
    });
    for (const id of ids) stage.receive(step(id));
    // What a stage does after sending.
    return done.then(() => new Promise((resolve) => setTimeout(resolve, 0)));
  };
  return { calls, run };
}

let nowMs = 0;
beforeEach(() => {
  vi.spyOn(performance, "now").mockImplementation(() => nowMs);
});
afterEach(() => vi.restoreAllMocks());

const pause = (ms = 5) => {
  nowMs += ms;
};

test("a device that would idle for long gets something to do, and the next step is encoded before", async () => {
  const { calls, run } = open({ staysAwake: true });
  await run(1);
  calls.length = 0;
  pause();
  await run(2);
  expect(calls).toEqual(["encode", "awake"]);
});

test("a device does nothing but steps while these follow each other", async () => {
  const { calls, run } = open({ staysAwake: true });
  pause();
  await run(1, 2, 3);
  expect(calls).toEqual(["encode", "encode", "encode", "awake"]);
});

test("nor does it where the next step comes soon", async () => {
  const { calls, run } = open({ staysAwake: true });
  pause();
  await run(1);
  pause(0.2);
  await run(2);
  expect(calls).toEqual(["encode", "awake", "encode"]);
});

test("a device is left alone where the host does not stay awake either", async () => {
  const { calls, run } = open({});
  pause();
  await run(1);
  expect(calls).toEqual(["encode"]);
});
