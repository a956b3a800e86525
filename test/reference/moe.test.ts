import { describe, expect, it } from "vitest";
import { hostTensor } from "../../src/reference/host-tensor.ts";
import { route } from "../../src/reference/moe.ts";

describe("route", () => {
  it("takes the largest logits, best first, of equal ones the lower index", () => {
    const { ids, weights } = route(hostTensor(2, 4, new Float32Array([0, 2, 1, 2, 5, 5, 5, 5])), 2);
    expect([...ids.data]).toEqual([1, 3, 0, 1]);
    expect([...weights.data]).toEqual([0.5, 0.5, 0.5, 0.5]);
  });

  it("weighs by softmax over the chosen", () => {
    const { ids, weights } = route(
      hostTensor(1, 3, new Float32Array([Math.log(3), 9, Math.log(1)].map(Math.fround))),
      3,
    );
    expect([...ids.data]).toEqual([1, 0, 2]);
    expect(weights.data[1] / weights.data[2]).toBeCloseTo(3, 5);
    expect(weights.data.reduce((a, b) => a + b)).toBeCloseTo(1, 6);
  });
});
