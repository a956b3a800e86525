import type { LanguageModel } from "./api/llm-interface.ts";
import { probeCompanion as probe } from "./api/probe-companion.ts";
import { RemoteLLM } from "./api/remote-llm.ts";
import type {
  CompanionOptions,
  CompanionProbe,
  LoadOptions,
  ModelPlan,
  ModelSource,
  PlanOptions,
} from "./api/types.ts";
import { WorkerError } from "./errors.ts";
import { askToPersist, BrowserStores } from "./platform/browser/stores.ts";
import { ModelLibrary } from "./stores/model-library.ts";
import { networkSource } from "./weights/network-source.ts";

export type { Generation, LanguageModel } from "./api/llm-interface.ts";
export type * from "./api/types.ts";
export * from "./errors.ts";
export { probeStores } from "./platform/browser/probe-stores.ts";

/** Language models of the Qwen3-Next family on WebGPU. */
export const LLM = {
  /**
   * Opens a model in a worker of its own, so that the page stays free: a folder's URL, `hf:owner/name` on the Hugging Face
   * Hub, or files that a user chose.
   * Fails with an error of this package that says what to try.
   *
   * @example
   * const llm = await LLM.load("/models/sprout/");
   * for await (const event of llm.chat([{ role: "user", content: "Hello!" }])) {
   *   if (event.kind === "text") output.textContent += event.text;
   * }
   */
  async load(source: ModelSource, options?: LoadOptions): Promise<LanguageModel> {
    const { store = "auto" } = options ?? {};
    const place = portable(source);
    // The worker, which stores the model, may not ask.
    if (typeof place === "string" && store !== "none" && store !== "memory") void askToPersist();
    return RemoteLLM.load(startWorker(), place, options);
  },

  /** What loading a model would take and give, with so much memory. Reads headers only. */
  plan: async (source: ModelSource, options?: PlanOptions): Promise<ModelPlan> =>
    RemoteLLM.plan(startWorker(), portable(source), options),
};
export type LLM = LanguageModel;

/** Models of the network that are kept in this browser: what is there, and getting, removing and exporting them. */
export const storedModels = new ModelLibrary(
  () => new BrowserStores(),
  (source, token) => networkSource(portable(source) as string, { token }),
);

/** What leaning on a companion would be like: measured, before a model is loaded. Fails with `CompanionError`. */
export const probeCompanion = (companion: string | CompanionOptions): Promise<CompanionProbe> =>
  probe((address) => new WebSocket(address), companion);

function startWorker(): Worker {
  try {
    return new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "sluice" });
  } catch (cause) {
    throw new WorkerError(`The worker for the model could not be started: ${(cause as Error).message}`, { cause });
  }
}

/** Relative addresses are relative to the page; in the worker they would be relative to its script. */
function portable(source: ModelSource): string | readonly File[] {
  if (typeof source === "string" || source instanceof URL) return new URL(source, document.baseURI).href;
  return [...("files" in source ? source.files : source)];
}
