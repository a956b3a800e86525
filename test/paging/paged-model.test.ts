import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import type { ResolvedSampling } from "../../src/engine/runner.ts";
import { SHAPES } from "../../src/models/qwen3-next/shapes.ts";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import { type GpuModelOptions, loadGpuSources, openGpuModel } from "../support/gpu-model.ts";
import { GREEDY as LIKELIEST } from "../support/greedy.ts";
import { packToDisk } from "../support/pack-model.ts";
import { madeUpModel } from "./made-up-model.ts";

/** The whole of what is promised takes minutes: 256 + 256 tokens after a prompt of 2,000. */
const isLong = process.env.SLUICE_LONG !== undefined;
const PROMPT = isLong ? 2000 : 150;
const REPLY = isLong ? 256 : 12;

const TIMEOUT = isLong ? 1_800_000 : 240_000;

const GREEDY = { ...LIKELIEST, maxTokens: REPLY };
const SAMPLED = { ...GREEDY, temperature: 0.9, topP: 0.95, seed: 11 };

/** 256 experts of which a token takes 8, as published; narrower, for software adapters. */
const CUT = {
  ...SHAPES["qwen3.5-35b-a3b"],
  num_hidden_layers: 4,
  vocab_size: 512,
  max_position_embeddings: 4096,
  hidden_size: 128,
  moe_intermediate_size: 64,
  shared_expert_intermediate_size: 64,
  head_dim: 64,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_key_head_dim: 32,
  linear_value_head_dim: 32,
};

interface Model {
  readonly name: string;
  readonly experts: number;
  readonly topK: number;
  readonly shares: readonly number[];
  readonly isFused?: boolean;
  readonly open: (options: GpuModelOptions) => Promise<ModelRunner>;
}

const options: GpuModelOptions = { maxContext: isLong ? 4096 : 512, maxBatchTokens: isLong ? 512 : 128, snapshots: 2 };

let packed: string;

beforeAll(async () => {
  packed = await mkdtemp(join(tmpdir(), "sluice-packed-"));
  await packToDisk("demo/public/models/sprout", packed);
});

afterAll(() => rm(packed, { recursive: true }));

const MODELS: readonly Model[] = [
  {
    name: "Sprout from a packed folder",
    experts: 24,
    topK: 4,
    shares: isLong ? [1, 0.5, 0.25, 0.12] : [0.25],
    open: (more) => openGpuModel(packed, { ...options, ...more }),
  },
  {
    name: "four layers of the 35B",
    experts: 256,
    topK: 8,
    shares: isLong ? [1, 0.5, 0.25, 0.12] : [0.5, 0.12],
    open: (more) => {
      const { config, sources } = madeUpModel(CUT);
      return loadGpuSources(sources, config, { ...options, ...more });
    },
  },
  {
    name: "the same by fused kernels",
    experts: 256,
    topK: 8,
    shares: [0.25],
    isFused: true,
    open: (more) => {
      const { config, sources } = madeUpModel(CUT);
      return loadGpuSources(sources, config, { ...options, fused: true, ...more });
    },
  },
];

const promptOf = (length: number, seed: number) => Array.from({ length }, (_, i) => (seed + i * i * 7 + i * 13) % 500);

async function reply(engine: Engine, prompt: readonly number[], sampling: ResolvedSampling): Promise<number[]> {
  const tokens: number[] = [];
  for await (const event of engine.generate({ prompt, sampling })) {
    if (event.kind === "token") tokens.push(event.sampled.token);
  }
  return tokens;
}

/** A long prompt greedily, another sampled, and the first one again, which finds its state. */
async function conversation(runner: ModelRunner): Promise<number[][]> {
  const engine = new Engine(runner);
  const first = promptOf(PROMPT, 3);
  const replies = [await reply(engine, first, GREEDY), await reply(engine, promptOf(40, 77), SAMPLED)];
  replies.push(await reply(engine, [...first, ...replies[0], 5, 6], SAMPLED));
  engine.dispose();
  return replies;
}

/** Four replies at once, to prompts of different lengths, greedy and sampled; they end one after the other. */
async function company(runner: ModelRunner): Promise<number[][]> {
  const engine = new Engine(runner);
  const replies = await Promise.all(
    [0, 1, 2, 3].map((i) => {
      const sampling = i % 2 === 0 ? GREEDY : { ...SAMPLED, seed: i };
      return reply(engine, promptOf(20 + 30 * i, 5 * i), { ...sampling, maxTokens: REPLY - 2 * i });
    }),
  );
  engine.dispose();
  return replies;
}

describe.each(MODELS)("$name", ({ open, experts, topK, shares, isFused = false }) => {
  const several = { maxSequences: 4, cacheTokens: 4 * options.maxContext! };
  let expected: number[][];
  let expectedTogether: number[][] | undefined;

  beforeAll(async () => {
    expected = await conversation(await open({}));
    if (!isFused) expectedTogether = await company(await open(several));
  }, TIMEOUT);

  test.each(shares)(
    "gives the resident run's tokens with a share of %d of its experts",
    { timeout: TIMEOUT },
    async (share) => {
      const slots = Math.max(topK, Math.round(share * experts));
      const runner = await open({ expertSlots: slots });
      expect(runner.decodeKernels.includes("decode-gate-up-paged")).toBe(isFused);
      expect(await conversation(runner)).toEqual(expected);
      if (share === 1) return;
      if (expectedTogether) {
        const shared = await open({ ...several, expertSlots: slots });
        expect(await company(shared)).toEqual(expectedTogether);
      }
      const { layers } = runner.paging!;
      if (isLong) console.log(share, JSON.stringify(sums(layers)));
      for (const { hits, misses } of layers) {
        expect(hits).toBeGreaterThan(0);
        expect(misses).toBeGreaterThan(0);
      }
    },
  );
});

/** All layers together. */
const sums = (layers: readonly object[]) =>
  layers.reduce<Record<string, number>>((all, layer) => {
    for (const [key, value] of Object.entries(layer)) all[key] = Math.round((all[key] ?? 0) + value);
    return all;
  }, {});
