import { byIds, grouped } from "../../src/ops/gpu/moe.ts";
import { anyQ4 } from "../kernels/moe/moe-case.ts";
import { normals, random } from "../support/random.ts";
import { type BenchCase, bench } from "./bench.ts";

const shapes = {
  Sprout: { experts: 24, topK: 4, inner: 128, hidden: 256 },
  "80B with 64 experts": { experts: 64, topK: 10, inner: 512, hidden: 2048 },
};

const ways = { byIds, grouped };

/** One layer's routed experts in q4. Bytes are those of the weights, each expert read once. */
function experts(model: keyof typeof shapes, tokens: number, way: keyof typeof ways): BenchCase {
  const { experts, topK, inner, hidden } = shapes[model];
  const weightBytes = 3 * inner * hidden * (9 / 16);
  return {
    name: `${model}, ${tokens} tokens, ${way}`,
    bytes: Math.min(experts, tokens * topK) * weightBytes,
    flops: tokens * topK * inner * hidden * 6,
    options: { limits: { maxTokens: tokens, maxSequences: 1 } },
    record: (harness) => {
      const next = random(3);
      const ids = new Uint32Array(tokens * topK);
      for (let t = 0; t < tokens; t++) {
        const chosen = new Set<number>();
        while (chosen.size < topK) chosen.add(Math.floor(next() * experts));
        ids.set([...chosen], t * topK);
      }
      const blocks = Array.from({ length: Math.ceil(tokens / 64) }, (_, i) => i);
      harness.writeBatch([{ tokens: new Uint32Array(tokens), position: 0, slot: 0, blocks }]);
      const weights = {
        experts,
        topK,
        gateUp: harness.weight("gateUp", anyQ4("q4", experts * 2 * inner, hidden, 1)),
        down: harness.weight("down", anyQ4("q4", experts * hidden, inner, 2)),
      };
      const routing = {
        ids: harness.input("ids", tokens, topK, ids),
        weights: harness.input("shares", tokens, topK, new Float32Array(tokens * topK).fill(1 / topK)),
      };
      ways[way](harness.context, harness.input("x", tokens, hidden, normals(tokens * hidden, 4)), routing, weights);
    },
  };
}

bench("experts", [
  experts("Sprout", 1, "byIds"),
  experts("Sprout", 32, "byIds"),
  experts("Sprout", 32, "grouped"),
  experts("Sprout", 512, "grouped"),
  experts("80B with 64 experts", 1, "byIds"),
  experts("80B with 64 experts", 8, "byIds"),
  experts("80B with 64 experts", 512, "grouped"),
]);
