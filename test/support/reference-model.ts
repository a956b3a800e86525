import { fileURLToPath } from "node:url";
import type { Quantization } from "../../src/api/types.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { type ModelConfig, parseConfig } from "../../src/models/qwen3-next/config.ts";
import { forward, logits, type Trace } from "../../src/models/qwen3-next/model.ts";
import { ropeFrequencies, ropeRows } from "../../src/models/qwen3-next/rope.ts";
import { type ModelWeights, mapWeights } from "../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { type HostBatch, hostBatch, type SequenceTokens } from "../../src/reference/host-batch.ts";
import { hostKVCache, hostRecurrentState } from "../../src/reference/host-state.ts";
import { type HostTensor, type HostWeight, loadHostWeight } from "../../src/reference/host-tensor.ts";
import { ReferenceOps } from "../../src/reference/reference-ops.ts";
import { ReferenceRunner } from "../../src/reference/reference-runner.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";

export const FIXTURES = ["qwen3-next-tiny", "qwen3-next-yarn", "qwen3.5-moe-tiny", "qwen3.5-dense-tiny"] as const;

export const fixtureFolder = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

export interface ReferenceModel {
  readonly config: ModelConfig;
  readonly weights: ModelWeights<HostWeight>;
}

export async function openReferenceModel(folder: string): Promise<ReferenceModel> {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder));
  const model = await loadReferenceModel(checkpoint);
  await checkpoint.close();
  return model;
}

export async function loadReferenceModel(checkpoint: Checkpoint): Promise<ReferenceModel> {
  const config = parseConfig(checkpoint.config);
  return { config, weights: await mapWeights(bindWeights(config, checkpoint), (leaf) => loadHostWeight(leaf)) };
}

/** The runner on the reference ops. */
export async function openReferenceRunner(
  folder: string,
  { quantization = "auto" }: { readonly quantization?: Quantization } = {},
): Promise<ReferenceRunner> {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder));
  try {
    const config = parseConfig(checkpoint.config);
    return await ReferenceRunner.load(bindWeights(config, checkpoint), {
      config,
      quantization,
      maxContext: 1024,
      maxBatchTokens: 256,
      snapshots: 1,
      usableVocabulary: config.vocabularySize,
    });
  } finally {
    await checkpoint.close();
  }
}

export interface ReferenceSessionOptions {
  readonly slots?: number;
  readonly blocks?: number;
  readonly blockSize?: number;
}

/** A model on the reference ops with its state: what a runner does, in a few lines. */
export class ReferenceSession {
  readonly #model: ReferenceModel;
  readonly #ops: ReferenceOps;
  readonly state;

  constructor(model: ReferenceModel, { slots = 1, blocks = 64, blockSize = 16 }: ReferenceSessionOptions = {}) {
    const { config } = model;
    const rope = ropeFrequencies(config.rope);
    this.#model = model;
    this.#ops = new ReferenceOps((position) => ropeRows(rope, position));
    this.state = config.layers.map(({ mixer }) =>
      mixer === "delta" ? hostRecurrentState(config.delta, slots) : hostKVCache(config.attention, blocks, blockSize),
    );
  }

  /** Final hidden states of all rows. */
  forward(batch: HostBatch, trace?: Trace): HostTensor {
    return forward(this.#ops, this.#model.weights, this.state, batch, trace) as HostTensor;
  }

  logits(hidden: HostTensor): HostTensor {
    return logits(this.#ops, this.#model.weights, hidden) as HostTensor;
  }

  run(parts: readonly SequenceTokens[], trace?: Trace): HostTensor {
    return this.logits(this.forward(hostBatch(parts), trace));
  }
}

/** Tokens of one sequence in slot 0, whose blocks are simply in order. */
export const inOrder = (tokenIds: readonly number[], position = 0): SequenceTokens => ({
  tokenIds,
  position,
  slot: 0,
  blockTable: Array.from({ length: 64 }, (_, i) => i),
});
