import { chatPlan } from "../chat/chat-plan.ts";
import type { Constraint } from "../constraints/constraint.ts";
import { formatStructure } from "../constraints/output-format.ts";
import type { Structure } from "../constraints/structure.ts";
import type { EngineStats } from "../engine/engine.ts";
import { InvalidRequestError, LLMError } from "../errors.ts";
import type { TemplateOptions } from "../tokenizer/chat-template.ts";
import { tokenCounts } from "../tokenizer/token-count.ts";
import { generation } from "./generation.ts";
import type { Generation, LanguageModel } from "./llm-interface.ts";
import { type LoadedModel, loadModel } from "./load-model.ts";
import type { ModelHost } from "./model-host.ts";
import type { Platform } from "./platform.ts";
import { type ReplyRequest, reply } from "./reply.ts";
import { resolveSampling } from "./sampling.ts";
import { score } from "./score.ts";
import type {
  ChatMessage,
  ChatParams,
  GenerateParams,
  GenerationEvent,
  LoadOptions,
  ModelInfo,
  ModelSource,
  RenderParams,
  ScoredToken,
  ScoreParams,
} from "./types.ts";

/** A model in this thread. After its device was lost it is loaded again by the next request. */
export class LocalLLM implements LanguageModel {
  readonly #reload: (signal: AbortSignal) => Promise<LoadedModel>;
  #model: LoadedModel;
  #reloading: Promise<LoadedModel> | undefined;
  /** Aborts when the model is disposed of. */
  readonly #end = new AbortController();

  private constructor(model: LoadedModel, reload: (signal: AbortSignal) => Promise<LoadedModel>) {
    this.#model = model;
    this.#reload = reload;
  }

  static async load(platform: Platform, source: ModelSource, options: LoadOptions = {}): Promise<LocalLLM> {
    // An aborted signal of the first load must not stop a later one.
    const reload = (signal: AbortSignal) => loadModel(platform, source, { ...options, signal });
    return new LocalLLM(await loadModel(platform, source, options), reload);
  }

  get info(): ModelInfo {
    return this.#model.info;
  }

  chat(messages: readonly ChatMessage[], params: ChatParams = {}): Generation {
    return this.#generation(params, async ({ template, tokenizer }) => {
      const options = templateOptions(params);
      const text = template.render(messages, options);
      if (!tokenizer)
        throw new InvalidRequestError("messages", "this model has no tokenizer; use generate() with token ids.");
      const prompt = await tokenizer.encodeLong(text);
      const parts = template.boundaries(messages, options);
      const boundary = parts[parts.length - 1];
      const counts = tokenCounts(tokenizer, text, prompt, parts).filter((count) => count > 0);
      const turn = options.continueFinalMessage
        ? text.slice(text.lastIndexOf("<|im_start|>"))
        : text.slice(boundary.length);
      const plan = chatPlan(params, template.source, turn);
      const { structure } = plan;
      return { prompt, plan, structure, boundaries: counts.length > 0 ? counts : undefined };
    });
  }

  generate(prompt: string | readonly number[], params: GenerateParams = {}): Generation {
    return this.#generation(params, async ({ tokenizer }) => {
      const structure = params.format && formatStructure(params.format);
      if (typeof prompt !== "string") return { prompt, structure };
      if (!tokenizer) throw new InvalidRequestError("prompt", "this model has no tokenizer; give token ids.");
      return { prompt: await tokenizer.encodeLong(prompt), structure };
    });
  }

  async tokenize(text: string): Promise<number[]> {
    return this.#tokenizer().encodeLong(text);
  }

  async detokenize(ids: readonly number[]): Promise<string> {
    return this.#tokenizer().decode(ids);
  }

  async render(messages: readonly ChatMessage[], params: RenderParams = {}): Promise<string> {
    return this.#model.template.render(messages, templateOptions(params));
  }

  async score(ids: readonly number[], params: ScoreParams = {}): Promise<ScoredToken[]> {
    const model = await this.#loaded();
    checkParams(params, model);
    return score(model.engine, model.tokenizer, ids, params, model.info.vocabulary);
  }

  async stats(): Promise<EngineStats> {
    return this.#model.engine.stats();
  }

  async clearCache(): Promise<void> {
    this.#model.engine.clearCache();
  }

  /** What this model can do for pages that lean on it. */
  async host(): Promise<ModelHost> {
    return this.#loaded();
  }

  async dispose(): Promise<void> {
    if (this.#isDisposed) return;
    this.#end.abort();
    await dispose(this.#model);
    // A model that is being loaded again frees what it has as soon as it notices.
    await this.#reloading?.catch(() => {});
  }

  #generation(
    params: GenerateParams,
    render: (
      model: LoadedModel,
    ) => Promise<Pick<ReplyRequest, "prompt" | "boundaries" | "plan"> & { structure?: Structure }>,
  ): Generation {
    const run = async function* (this: LocalLLM): AsyncGenerator<GenerationEvent, void, void> {
      const startMs = performance.now();
      let constraint: Constraint | undefined;
      try {
        const model = await this.#loaded();
        checkParams(params, model);
        const { structure, ...rendered } = await render(model);
        constraint = structure && (await constrain(model, structure, params));
        // What a structure makes whole has to end.
        const ending = constraint ? { ...params, ignoreEos: false } : params;
        const sampling = resolveSampling(ending, model.defaults, model.info.vocabulary);
        const { maxContext } = model.info;
        const request = { ...rendered, constraint, maxContext, sampling, params, startMs };
        yield* reply(model.engine, model.tokenizer, request);
      } catch (error) {
        throw this.#isDisposed ? new LLMError("The model was disposed of.") : error;
      } finally {
        constraint?.dispose();
      }
    };
    return generation(run.bind(this));
  }

  /** The model, loaded again where its device was lost. */
  async #loaded(): Promise<LoadedModel> {
    this.#end.signal.throwIfAborted();
    if (!this.#model.engine.isLost) return this.#model;
    this.#reloading ??= this.#replace().finally(() => {
      this.#reloading = undefined;
    });
    return this.#reloading;
  }

  async #replace(): Promise<LoadedModel> {
    await dispose(this.#model);
    const model = await this.#reload(this.#end.signal);
    if (this.#isDisposed) await dispose(model);
    this.#model = model;
    return model;
  }

  get #isDisposed(): boolean {
    return this.#end.signal.aborted;
  }

  #tokenizer() {
    const { tokenizer } = this.#model;
    if (!tokenizer) throw new InvalidRequestError("text", "this model has no tokenizer.");
    return tokenizer;
  }
}

/** A call that must not be made need not be told of its functions. */
const templateOptions = ({
  tools,
  toolChoice,
  thinking,
  templateVariables,
  ...rest
}: RenderParams): TemplateOptions => ({
  addGenerationPrompt: rest.addGenerationPrompt,
  continueFinalMessage: rest.continueFinalMessage,
  tools: toolChoice === "none" ? undefined : tools,
  variables: thinking === undefined ? templateVariables : { ...templateVariables, enable_thinking: thinking },
});

async function dispose({ engine, grammars, stopStoring }: LoadedModel): Promise<void> {
  engine.dispose();
  grammars?.dispose();
  await stopStoring();
}

async function constrain(
  { grammars }: LoadedModel,
  structure: Structure,
  { format }: GenerateParams,
): Promise<Constraint> {
  const field = format ? "format" : "tools";
  if (grammars) return grammars.constrain(structure, field);
  throw new InvalidRequestError(field, "this model has no tokenizer that ends replies, so they cannot be held to it.");
}

function checkParams({ logprobs, stop }: GenerateParams, { tokenizer }: LoadedModel): void {
  if (logprobs !== undefined && !(Number.isInteger(logprobs) && logprobs >= 0 && logprobs <= 20)) {
    throw new InvalidRequestError("logprobs", `${logprobs} is not a whole number from 0 to 20.`);
  }
  if (stop !== undefined && stop.length > 0 && !tokenizer) {
    throw new InvalidRequestError("stop", "this model has no tokenizer; use stopTokenIds.");
  }
}
