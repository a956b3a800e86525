import { existsSync } from "node:fs";
import type { LoadOptions } from "../api/types.ts";
import { InvalidRequestError, LLMError } from "../errors.ts";
import { type LanguageModel, LLM } from "../node.ts";
import type { Log } from "../server/log.ts";
import { type GpuChoice, loadOnGpus } from "./gpus.ts";
import { showLoading } from "./loading-line.ts";
import type { JsonObject, ServeOptions } from "./serve-options.ts";
import { countText } from "./text.ts";

/** Tokens of context of a model that is loaded without being told. */
const DEFAULT_CONTEXT = 4096;

/** How the model is to be loaded. */
export function serveLoadOptions(options: ServeOptions): LoadOptions {
  const { adapter, dtype, precise, fast, reference, quantization, memory, cache, maxModelLen, maxNumSeqs } = options;
  checkSpeculation(options.speculativeConfig);
  return {
    device: { adapter, dtype, precise, fast, reference },
    quantization,
    memory,
    store: cache === false ? "none" : "auto",
    maxContext: maxModelLen,
    maxSequences: maxNumSeqs,
    maxBatchTokens: options.maxNumBatchedTokens,
    compile: options.warmup ? "all" : "first",
    cacheHostBytes: options.cacheHostGib && options.cacheHostGib * 2 ** 30,
    cacheTokens: options.kvCacheTokens ?? Math.min(4 * (maxModelLen ?? DEFAULT_CONTEXT), 2 ** 16),
    queue: { maxWaitingTokens: options.maxNumQueuedTokens },
    configOverrides: { ...options.hfOverrides, ...(allowsLonger() && { max_position_embeddings: maxModelLen }) },
  };

  // Both say that the user knows: positions that no model was trained on give poor replies.
  function allowsLonger(): boolean {
    const { VLLM_ALLOW_LONG_MAX_MODEL_LEN: vllm, SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN: sglang } = process.env;
    return maxModelLen !== undefined && [vllm, sglang].some((value) => /^(1|true|yes)$/i.test(value ?? ""));
  }
}

/** A folder or an address as it is; `owner/name`, where there is no such folder, on the Hugging Face Hub. */
export const modelSource = (model: string): string =>
  /^[a-z0-9][\w.-]*\/[\w.-]+$/i.test(model) && !existsSync(model) ? `hf:${model}` : model;

export async function loadServed(
  source: string,
  options: LoadOptions,
  gpus: GpuChoice | undefined,
  log: Log,
): Promise<LanguageModel> {
  const loading = showLoading();
  const all = { ...options, onProgress: loading.onProgress };
  const loaded = gpus ? loadOnGpus(source, gpus, all, (line) => log.info(line)) : LLM.load(source, all);
  const llm = await loaded.catch((error: unknown) => {
    if (!(error instanceof InvalidRequestError) || error.field !== "maxContext") throw error;
    const { message } = new InvalidRequestError(
      "--max-model-len",
      error.message.replace(/^maxContext: | YaRN.*$/g, ""),
    );
    throw new LLMError(`${message} YaRN stretches it: --rope-scaling '{"rope_type": "yarn", "factor": 4}'.`);
  });
  if (loading.notice) log.warn(loading.notice);
  const { label, parameters, adapter } = llm.info;
  log.info(`${label}: ${countText(parameters)} parameters; ${adapter.name}, ${adapter.dtype}`);
  return llm;
}

const METHODS = ["mtp", "qwen3_next_mtp", "qwen3_5_mtp", "nextn"];

function checkSpeculation(config: JsonObject | undefined): void {
  if (!config || METHODS.includes(String(config.method))) return;
  const message = `its method is ${JSON.stringify(config.method)}; of this family's models it is one of ${METHODS.join(", ")}.`;
  throw new InvalidRequestError("--speculative-config", message);
}
