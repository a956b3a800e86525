import { allBlocks } from "../../src/engine/runner.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { convertWeights } from "../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import type { QuantizedFormat } from "../../src/weights/format.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { encodedSource } from "../support/encoded-source.ts";
import { type GpuModelOptions, loadGpuSources } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";

/** Opens a folder's model on the adapter under test, its matrices, embedding and head in one format. */
export type OpenRounded = (options: GpuModelOptions) => Promise<ModelRunner>;

/** Calls `use` with a way to open the model more than once; what is encoded is encoded once. */
export async function withFormat<T>(
  folder: string,
  format: QuantizedFormat,
  use: (open: OpenRounded) => Promise<T>,
): Promise<T> {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder));
  try {
    const config = parseConfig(checkpoint.config);
    const sources = convertWeights(bindWeights(config, checkpoint), (source) => encodedSource(source, format));
    return await use((options) =>
      loadGpuSources(sources, config, { maxContext: 512, ...options, quantization: format }),
    );
  } finally {
    await checkpoint.close();
  }
}

/** Tokens that are read together before the others are read one by one. */
const PROMPT = 16;

/** Logits [V] after each token from PROMPT on, the text's own tokens being read one by one as a reply's are. */
export async function decodedLogits(runner: ModelRunner, ids: readonly number[]): Promise<Float32Array[]> {
  const row = { slot: 0, blocks: allBlocks(runner) };
  runner.setSampling(0, { ...GREEDY, maxTokens: ids.length }, []);
  await runner.prefill([{ ...row, tokens: ids.slice(0, PROMPT), position: 0 }]);
  const all: Float32Array[] = [];
  for (let position = PROMPT; position < ids.length; position++) {
    const [sampled] = await runner.decode([{ ...row, position, token: ids[position], logits: true }]);
    all.push(sampled!.logits!);
  }
  return all;
}

/** The same of a text that is read in steps of as many tokens as the runner takes. */
export async function scoredLogits(runner: ModelRunner, ids: readonly number[]): Promise<Float32Array[]> {
  const { maxBatchTokens, vocabularySize } = runner.limits;
  const row = { slot: 0, blocks: allBlocks(runner) };
  const all: Float32Array[] = [];
  for (let position = 0; position < ids.length; position += maxBatchTokens) {
    const tokens = ids.slice(position, position + maxBatchTokens);
    const { logits } = await runner.score({ ...row, tokens, position }, false);
    for (let i = 0; i < tokens.length; i++) all.push(logits.slice(i * vocabularySize, (i + 1) * vocabularySize));
  }
  return all.slice(PROMPT);
}
