import { describe, expect, it } from "vitest";
import { Pace } from "../../src/engine/pace.ts";

/** Milliseconds of steps on some device. */
interface Times {
  readonly prefill: (rows: number) => number;
  readonly decode: number;
}

/** What replies get while a long prompt is read: time between tokens, and the largest chunk. */
function run({ prefill, decode }: Times, steps = 400) {
  const pace = new Pace(512);
  // The rest of a prompt that was known but for its last token: quicker than any chunk, and none to compare with.
  pace.prefilled(1, prefill(16) / 4);
  for (let i = 0; i < 5; i++) pace.decoded(4, decode);
  let ms = 0;
  let tokens = 0;
  let read = 0;
  let longest = 0;
  for (let i = 0; i < steps; i++) {
    const chunk = pace.chunk(4);
    if (chunk > 0) {
      const time = prefill(chunk);
      pace.prefilled(chunk, time);
      ms += time;
      read += chunk;
      if (i > 50) longest = Math.max(longest, time);
    }
    pace.decoded(4, decode);
    ms += decode;
    tokens++;
  }
  return { slowdown: ms / tokens / decode, read, longest };
}

describe("Pace", () => {
  it.each([
    ["a GPU, whose small steps cost as much as larger ones", { prefill: (n: number) => 6 + 0.1 * n, decode: 5 }],
    ["a CPU, whose rows cost the same each", { prefill: (n: number) => 1 + 4 * n, decode: 12 }],
    ["a device quick to read", { prefill: (n: number) => 0.5 + 0.01 * n, decode: 10 }],
  ])("at most doubles the time between tokens on %s", (_, times) => {
    const { slowdown, read } = run(times);
    expect(slowdown).toBeLessThan(1.9);
    expect(slowdown).toBeGreaterThan(1.4);
    expect(read).toBeGreaterThan(0);
  });

  it("takes the largest chunk that a token's time allows", () => {
    expect(run({ prefill: (n) => 0.02 * n, decode: 5.5 }).longest).toBeCloseTo(0.02 * 256);
    expect(run({ prefill: (n) => 0.1 * n, decode: 5 }).longest).toBeCloseTo(0.1 * 32);
  });

  it("takes more than the shortest where that costs little, as measured", () => {
    // Of an 80B model on an H200: 30 ms for 16 tokens, 87 for 512; a decode step takes 7.
    const times = new Map([16, 32, 64, 128, 256, 512].map((n, i) => [n, [30, 38, 54, 63, 72, 87][i]]));
    const { longest, slowdown } = run({ prefill: (n) => times.get(n)!, decode: 7 }, 4000);
    expect(longest).toBeGreaterThan(70);
    expect(slowdown).toBeLessThan(1.9);
    expect(run({ prefill: (n) => 1 + 4 * n, decode: 12 }).longest).toBe(1 + 4 * 32);
  });

  it("reads several short prompts at once where more wait", () => {
    const pace = new Pace(4096);
    const times = new Map([16, 32, 64, 128, 256, 512].map((n, i) => [n, [22, 30, 45, 55, 65, 80][i]]));
    for (const [rows, ms] of times) pace.prefilled(rows, ms);
    for (let i = 0; i < 200; i++) pace.decoded(18, 12);
    expect(pace.chunk(18)).toBe(256);
    expect(pace.chunk(18, 14)).toBeGreaterThanOrEqual(512);
  });

  it("is not misled by a first step that waited for its shaders", () => {
    const pace = new Pace(512);
    for (let i = 0; i < 3; i++) pace.decoded(1, 5);
    pace.prefilled(pace.chunk(1), 3000);
    const sizes: number[] = [];
    for (let i = 0; i < 2000; i++) {
      const chunk = pace.chunk(1);
      if (chunk > 0) pace.prefilled(chunk, 2 * chunk);
      if (chunk > 0) sizes.push(chunk);
      pace.decoded(1, 5);
    }
    expect(Math.max(...sizes.slice(3))).toBeLessThanOrEqual(64);
  });

  it("takes all there is while nobody waits for tokens", () => {
    const pace = new Pace(300);
    expect(pace.chunk(0)).toBe(300);
    pace.prefilled(300, 1e6);
    expect(pace.chunk(1)).toBe(0);
    expect(pace.chunk(0)).toBe(300);
  });

  it("begins small where nothing has been measured", () => {
    expect(new Pace(512).chunk(1)).toBe(16);
    expect(new Pace(8).chunk(1)).toBe(8);
  });
});
