import { LocalLLM } from "./api/llm.ts";
import type { LanguageModel } from "./api/llm-interface.ts";
import { planModel } from "./api/plan-model.ts";
import { probeCompanion as probe } from "./api/probe-companion.ts";
import type {
  CompanionOptions,
  CompanionProbe,
  LoadOptions,
  ModelPlan,
  ModelSource,
  PlanOptions,
} from "./api/types.ts";
import { nodePlatform } from "./platform/node/platform.ts";
import { NodeStores } from "./platform/node/stores.ts";
import { ModelLibrary } from "./stores/model-library.ts";
import { networkSource } from "./weights/network-source.ts";

export type { Generation, LanguageModel } from "./api/llm-interface.ts";
export type * from "./api/types.ts";
export * from "./errors.ts";

/** Language models of the Qwen3-Next family on WebGPU. */
export const LLM = {
  /**
   * Opens a model: a folder's path, the URL of one, or `hf:owner/name` on the Hugging Face Hub. Fails with an error of this package that says what to try.
   *
   * @example
   * const llm = await LLM.load("models/sprout");
   * for await (const event of llm.chat([{ role: "user", content: "Hello!" }])) {
   *   if (event.kind === "text") process.stdout.write(event.text);
   * }
   */
  load: (source: ModelSource, options?: LoadOptions): Promise<LanguageModel> =>
    LocalLLM.load(nodePlatform, source, options),

  /** What loading a model would take and give, with so much memory. Reads headers only. */
  plan: (source: ModelSource, options: PlanOptions = {}): Promise<ModelPlan> =>
    planModel(nodePlatform, source, options),
};
export type LLM = LanguageModel;

/** Models of the network that are kept in the cache folder: what is there, and getting, removing and exporting them. */
export const storedModels = new ModelLibrary(
  () => new NodeStores(),
  (source) => networkSource(source, { token: process.env.HF_TOKEN, endpoint: process.env.HF_ENDPOINT }),
);

/** What leaning on a companion would be like: measured, before a model is loaded. Fails with `CompanionError`. */
export const probeCompanion = async (companion: string | CompanionOptions): Promise<CompanionProbe> =>
  probe(await nodePlatform.sockets(), companion);
