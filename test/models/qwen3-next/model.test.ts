import { describe, expect, it } from "vitest";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { tensorShapes } from "../../../src/models/qwen3-next/tensor-shapes.ts";
import type { SequenceTokens } from "../../../src/reference/host-batch.ts";
import { expectClose } from "../../support/compare.ts";
import { memoryCheckpoint } from "../../support/memory-checkpoint.ts";
import { inOrder, loadReferenceModel, ReferenceSession } from "../../support/reference-model.ts";
import { TINY } from "../../support/tiny-model.ts";

const TOKENS = Array.from({ length: 33 }, (_, i) => (i * 29 + 7) % TINY.vocab_size);

describe.each([
  ["one value head per key head", { linear_num_key_heads: 6 }],
  ["three value heads per key head", {}],
  ["four value heads per key head", { linear_num_value_heads: 8 }],
  ["four query heads per key head", { num_attention_heads: 4, num_key_value_heads: 1 }],
  ["eight query heads per key head", { num_attention_heads: 16, num_key_value_heads: 2 }],
  ["a dense layer among sparse ones", { mlp_only_layers: [0] }],
  ["tied embeddings", { tie_word_embeddings: true }],
  ["attention before the delta rule", { layer_types: ["full_attention", "linear_attention"] }],
  ["two taps", { linear_conv_kernel_dim: 2 }],
])("a model with %s", async (_, change) => {
  const json = { ...TINY, ...change };
  const shapes = tensorShapes(parseConfig(json), { projections: "fused", experts: "single" });
  const model = await loadReferenceModel(memoryCheckpoint(json, shapes));
  const whole = new ReferenceSession(model).run([inOrder(TOKENS)]);

  it("reads a prompt at once as token by token", () => {
    const session = new ReferenceSession(model);
    TOKENS.forEach((token, position) => {
      const logits = session.run([inOrder([token], position)]);
      expect(logits.data).toEqual(whole.data.slice(position * whole.columns, (position + 1) * whole.columns));
    });
  });

  it("gives numbers that depend on every token before", () => {
    const changed = [(TOKENS[0] + 1) % TINY.vocab_size, ...TOKENS.slice(1)];
    const other = new ReferenceSession(model).run([inOrder(changed)]);
    expect(whole.data.every(Number.isFinite)).toBe(true);
    expect(other.data.slice(-whole.columns)).not.toEqual(whole.data.slice(-whole.columns));
  });
});

describe("a batch of several sequences", async () => {
  const shapes = tensorShapes(parseConfig(TINY), { projections: "fused", experts: "single" });
  const model = await loadReferenceModel(memoryCheckpoint(TINY, shapes));
  const a: SequenceTokens = { tokenIds: TOKENS, position: 0, slot: 1, blockTable: [5, 0, 7] };
  const b: SequenceTokens = { tokenIds: TOKENS.slice(3, 12), position: 0, slot: 0, blockTable: [2] };

  it("keeps them apart, wherever their blocks and slots are", () => {
    const alone = [a, b].map(({ tokenIds }) => new ReferenceSession(model).run([inOrder(tokenIds)]));
    const together = new ReferenceSession(model, { slots: 2, blocks: 8 }).run([a, b]);
    expectClose(together.data, [...alone[0].data, ...alone[1].data], 1e-7);
  });

  it("starts a sequence afresh in a slot that another has left", () => {
    const session = new ReferenceSession(model, { slots: 2, blocks: 8 });
    session.run([a]);
    const again = session.run([{ ...b, slot: a.slot, blockTable: a.blockTable }]);
    expect(again.data).toEqual(new ReferenceSession(model).run([inOrder(b.tokenIds)]).data);
  });
});
