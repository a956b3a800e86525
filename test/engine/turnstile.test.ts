import { expect, it } from "vitest";
import { Turnstile } from "../../src/engine/turnstile.ts";
import { random } from "../support/random.ts";

const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

it("lets one through at a time, in order, and is not held up by those who gave up waiting", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const next = random(seed);
    const turnstile = new Turnstile();
    const served: number[] = [];
    let isInside = false;
    const aborted = Array.from({ length: 8 }, () => next() < 0.4);
    const visits = aborted.map(async (givesUp, i) => {
      const controller = new AbortController();
      const entering = turnstile.enter(controller.signal);
      if (givesUp) {
        if (next() < 0.5) await pause();
        controller.abort(new Error("gave up"));
      }
      let leave: () => void;
      try {
        leave = await entering;
      } catch (error) {
        expect(givesUp).toBe(true);
        expect((error as Error).message).toBe("gave up");
        return;
      }
      expect(isInside).toBe(false);
      isInside = true;
      served.push(i);
      for (let k = next() * 4; k > 0; k--) await pause();
      isInside = false;
      leave();
    });
    await Promise.all(visits);
    expect(served).toEqual(served.toSorted((a, b) => a - b));
    expect(served).toEqual(expect.arrayContaining(aborted.flatMap((givesUp, i) => (givesUp ? [] : [i]))));
  }
});

it("turns away who comes with an aborted signal, without taking a turn", async () => {
  const turnstile = new Turnstile();
  await expect(turnstile.enter(AbortSignal.abort())).rejects.toThrow();
  const leave = await turnstile.enter();
  leave();
});
