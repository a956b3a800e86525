import { describe, expect, it } from "vitest";
import { hostBatch } from "../../../src/reference/host-batch.ts";
import type { HostTensor } from "../../../src/reference/host-tensor.ts";
import { relativeError } from "../../support/compare.ts";
import { readGolden } from "../../support/golden.ts";
import {
  FIXTURES,
  fixtureFolder,
  inOrder,
  openReferenceModel,
  ReferenceSession,
} from "../../support/reference-model.ts";

describe.each(FIXTURES)("%s on the reference ops", async (name) => {
  const model = await openReferenceModel(fixtureFolder(name));
  const golden = await readGolden(name);

  it("computes the logits, hidden states and routes that transformers computes, and goes on as it does", () => {
    const session = new ReferenceSession(model);
    const hidden: HostTensor[] = [];
    const chosen: HostTensor[] = [];
    const final = session.forward(hostBatch([inOrder(golden.tokens)]), {
      hidden: (index, x) => {
        hidden[index] = x as HostTensor;
      },
      experts: (layer, ids) => {
        chosen[layer] = ids as HostTensor;
      },
    });
    for (const [i, expected] of golden.hidden.entries()) {
      const actual = i < model.config.layers.length ? hidden[i] : final;
      expect(relativeError(actual.data, expected), `hidden state ${i}`).toBeLessThan(1e-5);
    }
    for (const [layer, expected] of golden.router.entries()) {
      expect(sortedSets(chosen[layer].data, chosen[layer].columns)).toEqual(
        sortedSets(expected, chosen[layer].columns),
      );
    }
    let logits = session.logits(final);
    expect(relativeError(logits.data, golden.logits)).toBeLessThan(1e-5);

    const reply: number[] = [];
    while (reply.length < golden.greedy.length) {
      reply.push(argmax(logits.data.subarray(-logits.columns)));
      logits = session.run([inOrder(reply.slice(-1), golden.tokens.length + reply.length - 1)]);
    }
    expect(reply).toEqual(golden.greedy);
  });

  const tokens = golden.tokens.slice(0, 66);
  const whole = new ReferenceSession(model).run([inOrder(tokens)]);

  it.each([1, 2, 3, 63, 64, 65])("gives the same for a prompt cut after %i tokens", (cut) => {
    const session = new ReferenceSession(model);
    session.run([inOrder(tokens.slice(0, cut))]);
    const rest = session.run([inOrder(tokens.slice(cut), cut)]);
    expect(rest.data).toEqual(whole.data.subarray(cut * whole.columns));
  });
});

const argmax = (values: Float32Array): number =>
  values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

const sortedSets = (ids: ArrayLike<number>, k: number): number[][] =>
  Array.from({ length: ids.length / k }, (_, t) =>
    Array.from(ids)
      .slice(t * k, (t + 1) * k)
      .sort((a, b) => a - b),
  );
