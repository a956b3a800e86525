import type { WeightFormat } from "../weights/format.ts";

/** One message of a chat, as OpenAI writes it. */
export interface ChatMessage {
  readonly role: "system" | "developer" | "user" | "assistant" | "tool";
  readonly content: string | readonly { readonly type: "text"; readonly text: string }[] | null;
  /** Thoughts of an earlier assistant turn, for templates that want them back. */
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly ToolCall[];
  readonly tool_call_id?: string;
  readonly name?: string;
}

export interface ToolCall {
  readonly id?: string;
  readonly type?: "function";
  /** `arguments` is JSON text, or the object itself. */
  readonly function: { readonly name: string; readonly arguments: string | Readonly<Record<string, unknown>> };
}

/** A call as a reply makes it; its arguments are the text of one JSON object, `{}` where there are none. */
export interface ReplyToolCall extends ToolCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

/** A function the model may call; `parameters` is a JSON Schema. */
export interface Tool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description?: string;
    readonly parameters?: unknown;
    /** Hold calls to `parameters`, also where they are not required. Default false. */
    readonly strict?: boolean;
  };
}

/** How the next token is picked. What is absent comes from the checkpoint's generation_config.json, then the default here. */
export interface SamplingParams {
  /** 0 is greedy. Default 1. */
  readonly temperature?: number;
  /** Keep the smallest set of tokens whose probabilities reach this sum, (0, 1]. Default 1: off. */
  readonly topP?: number;
  /** Keep this many tokens; 0 is off. Default 0. */
  readonly topK?: number;
  /** Drop tokens less likely than this share of the likeliest, [0, 1]. Default 0: off. */
  readonly minP?: number;
  /** Subtracted once from every token that the reply already holds, [−2, 2]. Default 0. */
  readonly presencePenalty?: number;
  /** Subtracted from a token for every time that the reply already holds it, [−2, 2]. Default 0. */
  readonly frequencyPenalty?: number;
  /** Divides positive and multiplies negative logits of tokens seen in prompt or reply, (0, 2]. Default 1: off. */
  readonly repetitionPenalty?: number;
  /** The same seed, prompt and device give the same reply. Default: random. */
  readonly seed?: number;
  /** Token id → amount added to its logit. */
  readonly logitBias?: Readonly<Record<number, number>>;
}

export interface GenerateParams extends SamplingParams {
  /** Tokens to generate at most. Default: what the context leaves. */
  readonly maxTokens?: number;
  /** Texts that end the reply; they are not part of it. */
  readonly stop?: string | readonly string[];
  /** Token ids that end the reply, besides the model's own. */
  readonly stopTokenIds?: readonly number[];
  /** Go on past the model's own end-of-reply tokens. Default false. */
  readonly ignoreEos?: boolean;
  /** Report each token's log-probability, and this many of the likeliest (0…20). Default: none. */
  readonly logprobs?: number;
  /** What the reply must look like. Default: anything. */
  readonly format?: OutputFormat;
  readonly signal?: AbortSignal;
}

/** What a reply is held to: any JSON object, JSON of a schema, a regular expression, one of some texts, or an EBNF grammar. */
export type OutputFormat =
  | { readonly kind: "json" }
  | { readonly kind: "schema"; readonly schema: unknown }
  | { readonly kind: "regex"; readonly pattern: string }
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  | { readonly kind: "grammar"; readonly grammar: string };

/** Whether the model may, must not, or must call a function; or which one it must call. */
export type ToolChoice =
  | "auto"
  | "none"
  | "required"
  | { readonly type: "function"; readonly function: { readonly name: string } };

export interface ChatParams extends GenerateParams {
  readonly tools?: readonly Tool[];
  /** Default `auto`. */
  readonly toolChoice?: ToolChoice;
  /** `false` ends the reply after its first call. Default true. */
  readonly parallelToolCalls?: boolean;
  /** Whether to think before answering, where the model can. Default: as its template has it. */
  readonly thinking?: boolean;
  /** Tokens of thinking at most, after which the thinking is closed. Default: no limit. */
  readonly thinkingBudget?: number;
  /** Go on writing the last message, which is the assistant's, instead of answering it. Default false. */
  readonly continueFinalMessage?: boolean;
  /** End the prompt with the opening of the assistant's turn. Default true, unless `continueFinalMessage`. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables for the chat template, such as `enable_thinking`. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
}

/** What the prompt of a chat depends on. */
export type RenderParams = Pick<
  ChatParams,
  "tools" | "toolChoice" | "thinking" | "continueFinalMessage" | "addGenerationPrompt" | "templateVariables"
>;

export interface ScoreParams {
  /** How many of the likeliest tokens to report at each place (0…20). Default 0. */
  readonly logprobs?: number;
  readonly signal?: AbortSignal;
}

export interface TokenLogprob {
  readonly id: number;
  readonly text: string;
  /** What the token stands for in UTF-8, which need not be whole characters. */
  readonly bytes: readonly number[];
  readonly logprob: number;
}

/** `tool_calls` is a `stop` of a reply that calls functions. */
export type FinishReason = "stop" | "length" | "tool_calls" | "abort";

export interface Usage {
  readonly promptTokens: number;
  /** Prompt tokens whose state was still there from an earlier turn. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Of these, tokens of thinking. */
  readonly reasoningTokens: number;
  /** Milliseconds from the call to the first token. */
  readonly timeToFirstTokenMs: number;
  /** Tokens a second while prefilling, without the cached ones. */
  readonly prefillTokensPerSecond: number;
  /** Tokens a second after the first. */
  readonly decodeTokensPerSecond: number;
}

/** The tokens behind a piece of a reply, and how likely they were, if that was asked for. */
export interface ReplyTokens {
  readonly tokenIds: readonly number[];
  readonly logprobs?: readonly ScoredToken[];
}

/** A token that was drawn (or read), and the likeliest that could have been. */
export type ScoredToken = TokenLogprob & { readonly top: readonly TokenLogprob[] };

/**
 * What a reply is made of, in order: progress while the prompt is read, thoughts, text and calls as they come, and one
 * `finish`. A call's `name` comes with its first event; its `argumentsDelta`s together are one JSON object.
 */
export type GenerationEvent =
  | { readonly kind: "prefill"; readonly done: number; readonly total: number }
  | ({ readonly kind: "reasoning"; readonly text: string } & ReplyTokens)
  | ({ readonly kind: "text"; readonly text: string } & ReplyTokens)
  | ({
      readonly kind: "toolCall";
      /** Which call of the reply, from 0. */
      readonly index: number;
      readonly id: string;
      readonly name?: string;
      readonly argumentsDelta: string;
      /** The call turned out to be malformed, or was cut: forget it. What was written of it follows as text. */
      readonly isWithdrawn?: true;
    } & ReplyTokens)
  | {
      readonly kind: "finish";
      readonly reason: FinishReason;
      /** The stop text, or the stop token that is not the model's own, that ended the reply. */
      readonly stop?: string | number;
      /** The content alone, without thoughts and calls. */
      readonly text: string;
      readonly reasoning?: string;
      /** The thoughts were ended because they repeated themselves, or because their budget was spent. */
      readonly thoughtsEndedBy?: "loop" | "budget";
      readonly toolCalls?: readonly ReplyToolCall[];
      /** Of all of the reply. */
      readonly tokenIds: readonly number[];
      readonly usage: Usage;
    };

/** Where a model is opened from: a URL or (in Node) a folder's path, or files that a user dropped or picked. */
export type ModelSource = string | URL | readonly File[] | { readonly files: readonly File[] };

export type Quantization = "auto" | WeightFormat;

export interface LoadProgress {
  readonly phase: "open" | "weights" | "compile" | "ready";
  readonly loadedBytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  /** Seconds until all weights are read, as fast as they came so far; undefined where nothing came yet. */
  readonly secondsLeft?: number;
  /** How much of the model is on this device, where it comes from the network and is stored. */
  readonly store?: StoreReport;
}

/** Where a platform keeps models. `opfs` is the origin's private file system, `files` a cache folder (Node). */
export type StoreKind = "indexeddb" | "opfs" | "files" | "memory";

export interface StoreReport {
  readonly kind: StoreKind | "none";
  /** Bytes on this device of the files in use, and of those files whole. */
  readonly storedBytes: number;
  readonly sizeBytes: number;
  /** Bytes that came over the network since the model was opened. */
  readonly fetchedBytes: number;
  /** What the user should know: there is no room, or nothing can be stored here. */
  readonly notice?: string;
}

/** A model that is stored on this device. */
export interface StoredModelInfo {
  /** Where it is from: what `LLM.load` was given, without a query string. */
  readonly source: string;
  readonly storedBytes: number;
  /** Of all files that the model is known to have. */
  readonly sizeBytes: number;
  readonly isComplete: boolean;
  /** When it was last opened, as `Date.now()` counts. */
  readonly usedAtMs: number;
  readonly stores: readonly StoreKind[];
}

export interface StoreUsage {
  /** Bytes that are taken, of an origin by all that it stores. */
  readonly usedBytes: number;
  /** Bytes that may be taken in all, where that is known; a browser's word is a hint. */
  readonly quotaBytes?: number;
  /** False where the browser may remove everything when room gets short. */
  readonly isPersistent: boolean;
  /** What the stores of this browser were found to do, if they were measured: large models go where reading is fastest. */
  readonly probes?: readonly StoreProbe[];
}

/** How fast a store writes and reads records of one size. */
export interface StoreProbe {
  readonly kind: StoreKind;
  /** What IndexedDB holds a record as. */
  readonly form?: "buffer" | "blob";
  /** Workers that read the private file system. */
  readonly readers?: number;
  readonly recordBytes: number;
  readonly writeBytesPerSecond: number;
  /** Eight reads under way, in random order; the system may have the bytes in its memory. */
  readonly readBytesPerSecond: number;
}

export interface LoadOptions {
  /**
   * Where a model from the network is kept, so that it is fetched once. `auto` takes the fastest; `none` keeps nothing.
   * Default `auto`.
   */
  readonly store?: "auto" | "none" | StoreKind;
  /**
   * A token for private and gated models of the Hugging Face Hub, or what asks for one. It is sent to the Hub alone, and never
   * stored. Default in Node: HF_TOKEN.
   */
  readonly hubToken?: string | (() => string | undefined | Promise<string | undefined>);
  /**
   * `dummy` reads no weights: they are made up on the device, from a seed, for the shape that a config.json has, or for
   * the published one whose name is given instead of a model. Speed and memory are the model's, replies are noise. Default `auto`.
   */
  readonly loadFormat?: "auto" | "dummy";
  /** Of a model with made-up weights: where its tokenizer and chat template are, if not with it. */
  readonly tokenizer?: string;
  /** Which device to run on. Default: the fastest at hand. */
  readonly device?: DeviceOptions;
  /** `auto` keeps what the checkpoint holds, without loss; else matrices become this on the way in. Default `auto`. */
  readonly quantization?: Quantization;
  /** Tokens of prompt and reply together. Default: what the model was made for, at most 4096. */
  readonly maxContext?: number;
  /** Replies written at once; others wait. Each takes its recurrent state of memory. Default 1. */
  readonly maxSequences?: number;
  /** Tokens of one step that reads prompts. Larger steps read faster and make others wait longer. Default 512, or 4096 on GPUs that multiply matrices. */
  readonly maxBatchTokens?: number;
  /**
   * What is compiled before the model is there: what a chat begins with, or all that it can come to, so that no reply ever waits
   * for a compiler. Default `first`.
   */
  readonly compile?: "first" | "all";
  /** Tokens of all replies under way, and of what is kept of earlier ones. Default: one context. */
  readonly cacheTokens?: number;
  /** Bytes of host memory for states of earlier requests that the device has no room for. Default 0. */
  readonly cacheHostBytes?: number;
  /** Replies that may wait, and tokens of their prompts; further ones fail with `QueueFullError`. Default: no limit. */
  readonly queue?: { readonly maxWaiting?: number; readonly maxWaitingTokens?: number };
  /**
   * Device memory that the model may take: bytes, "4GB", or the share of each layer's experts to hold there, "25%". What
   * does not fit is read when it is needed. Default: everything is held.
   */
  readonly memory?: string | number;
  /**
   * Fields of config.json to replace, such as `rope_parameters: { rope_type: "yarn", factor: 4,
   * original_max_position_embeddings: 262144 }` for a longer context. Default: none.
   */
  readonly configOverrides?: Readonly<Record<string, unknown>>;
  /** A `sluice serve` of the same model to lean on: its address, or more. Default: none. */
  readonly companion?: string | CompanionOptions;
  readonly onProgress?: (progress: LoadProgress) => void;
  readonly signal?: AbortSignal;
}

export interface CompanionOptions {
  /** Such as "https://host:8000". */
  readonly url: string;
  /** One of the server's API keys. */
  readonly key?: string;
  /**
   * What is left to the companion: `requests`, whole replies, of which only tokens travel; `experts`, those that this device
   * does not hold (`memory` says how many it does; without it none), while prompt and state stay here; `layers`, all but the
   * first layers (`memory` says how many these are: those that fit, or a share of all; without it one) and the drawing of
   * tokens, which stay here as the prompt does. `auto` takes what promises most tokens a second, or nothing. Default `auto`.
   */
  readonly mode?: "auto" | CompanionMode;
  /**
   * In mode `layers`, how many run here, where that is not for `memory` to say. `memory` then says what they may take, or which
   * share of their experts; what has no room is read when a token asks for it.
   */
  readonly layers?: number;
  /** No token is to leave this device, neither read nor drawn: `auto` then leaves no whole replies to the companion. Default false. */
  readonly private?: boolean;
  /** Go on without the companion when it is gone for good, where the model can be run here. Default true. */
  readonly fallback?: boolean;
  /** Milliseconds that a broken link may take to stand again. Default 4000. */
  readonly patienceMs?: number;
}

export type CompanionMode = "requests" | "experts" | "layers";

/** What a model does with its companion, and why. */
export interface CompanionInfo {
  readonly url: string;
  /** `none`: the model runs here alone, because that promises more. */
  readonly mode: CompanionMode | "none";
  readonly reason: string;
  /** Of the link: to the companion and back, and bytes a second; measured when the model was loaded. */
  readonly latencyMs: number;
  readonly bytesPerSecond: number;
  /** How fast the companion decodes for one client, as it has measured itself. */
  readonly hostTokensPerSecond: number;
  /** How many layers run here and there, where `mode` is `layers`. */
  readonly layers?: { readonly here: number; readonly there: number };
  /** Tokens a second that each way promised, where it was possible, and those that a short reply had where it was tried. */
  readonly predicted: Readonly<Partial<Record<CompanionMode | "none", number>>>;
  readonly tried: Readonly<Partial<Record<CompanionMode | "none", number>>>;
}

/** A companion as it is found before a model leans on it. */
export interface CompanionProbe extends Pick<CompanionInfo, "latencyMs" | "bytesPerSecond" | "hostTokensPerSecond"> {
  /** What its model is called there, and the tokens of its context. */
  readonly label: string;
  readonly maxContext: number;
  /** Whether it can compute experts for others, and run layers. */
  readonly hasExperts: boolean;
  readonly hasLayers: boolean;
}

/** What a link has carried since the model was loaded. */
export interface CompanionStats {
  /**
   * `reconnecting`: the link broke and is being made again. `lost`: that did not succeed, and the next request tries anew.
   * `replaced`: lost, and this device does the companion's work.
   */
  readonly state: LinkState | "replaced";
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly reconnects: number;
  /** Sums that were asked for, rows and experts in them, and milliseconds that steps waited for them. */
  readonly sums: { readonly count: number; readonly rows: number; readonly experts: number; readonly waitMs: number };
  /** Set where layers are left to it. */
  readonly passes?: LayerPasses;
}

/** Steps of layers that a companion ran: their rows, and milliseconds until each was back. */
export interface LayerPasses {
  readonly count: number;
  readonly rows: number;
  readonly waitMs: number;
}

export type LinkState = "connected" | "reconnecting" | "lost";

export interface PlanOptions
  extends Pick<
    LoadOptions,
    | "hubToken"
    | "device"
    | "quantization"
    | "maxContext"
    | "memory"
    | "signal"
    | "configOverrides"
    | "loadFormat"
    | "tokenizer"
  > {
  /** Where what is read is looked for and kept, as when loading. Default `none`: a plan alone leaves nothing behind. */
  readonly store?: LoadOptions["store"];
  /** Measured speeds, to foretell the model's: of the store, and of decoding with all experts on the device. */
  readonly speeds?: { readonly bytesPerSecond?: number; readonly tokensPerSecond?: number };
}

/** What a model would take and give. */
export interface ModelPlan {
  readonly modelType: string;
  readonly parameters: number;
  /** Bytes of all weights in the model's files: what a first loading downloads, but for headers and tokenizer. */
  readonly sizeBytes: number;
  /** Set for mixtures of experts. */
  readonly experts?: {
    /** Sparse layers, experts of each, and how many of them a token takes. */
    readonly layers: number;
    readonly perLayer: number;
    readonly perToken: number;
  };
  readonly memory: MemoryPlan;
  /** Set where the device holds some of the experts at a time. */
  readonly paging?: PagingPlan;
}

export interface PagingPlan {
  /** Experts of each sparse layer, and how many of them the device holds at a time. */
  readonly experts: number;
  readonly slots: number;
  readonly expertBytes: number;
  /** Share of a token's experts that are there already, and where that figure comes from. */
  readonly hitRate: number;
  readonly hitRateSource: string;
  /** Bytes of experts that a token has to wait for. */
  readonly bytesPerToken: number;
  /** Set where the store's speed was given. */
  readonly tokensPerSecond?: number;
}

/** What the cache of experts has done since the model was loaded. */
export interface PagingStats {
  /** Experts of each sparse layer, and how many of them the device holds at a time. */
  readonly experts: number;
  readonly slots: number;
  readonly layers: readonly LayerPagingStats[];
}

/** What the cache of one layer's experts has done so far. */
export interface LayerPagingStats {
  /** Experts that steps asked for and found, and did not find. */
  readonly hits: number;
  readonly misses: number;
  /** Experts read before a step asked for them, and those of them that one then did ask for. */
  readonly readAhead: number;
  readonly useful: number;
  /** Experts chosen while the layer before had made a guess, and those of them that it had guessed. */
  readonly foretellable: number;
  readonly foretold: number;
  /** Bytes brought to the device. */
  readonly bytes: number;
  /** Milliseconds that steps waited for experts. */
  readonly waitMs: number;
  /** [experts]: 0 for one that is not on the device, else from 1 to 255, the more the shorter ago it was used. */
  readonly recency: Uint8Array;
}

export interface DeviceOptions {
  /** Part of the adapter's name (Node), or which power preference (browser). */
  readonly adapter?: string;
  /** `f16` halves the KV cache and speeds prefill where the device has it; `f32` is exact. Default `auto`. */
  readonly dtype?: "auto" | "f32" | "f16";
  /**
   * Keep activations in f32 where kernels would round them to go faster (decoding on GPUs); the KV cache stays as `dtype` has
   * it. Default false; `dtype: "f32"` implies it.
   */
  readonly precise?: boolean;
  /** Leave out the checks that browsers always make: bounds, validation, cleared workgroup memory. Node only. Default false. */
  readonly fast?: boolean;
  /** Run on the CPU definition instead of a GPU: slow, exact, needs nothing. Default false. */
  readonly reference?: boolean;
}

/** What was loaded, for people to look at. */
export interface ModelInfo {
  readonly label: string;
  readonly modelType: string;
  readonly parameters: number;
  readonly layers: { readonly delta: number; readonly attention: number };
  readonly quantization: string;
  readonly maxContext: number;
  readonly maxSequences: number;
  /** Tokens that the KV cache holds. */
  readonly cacheTokens: number;
  /** Bytes of host memory that states of earlier requests may take, where there is such room. */
  readonly cacheHostBytes?: number;
  /** Tokens of the longest step. */
  readonly maxBatchTokens: number;
  readonly vocabulary: number;
  /** What the checkpoint asks for (generation_config.json), the defaults filled in; `seed` and `logitBias` are absent. */
  readonly sampling: Required<Omit<SamplingParams, "seed" | "logitBias">>;
  readonly adapter: {
    readonly name: string;
    readonly isSoftware: boolean;
    readonly dtype: "f32" | "f16";
    readonly subgroups: boolean;
  };
  readonly memory: MemoryPlan;
  /** Set where a companion was asked for. */
  readonly companion?: CompanionInfo;
}

/** Device memory in bytes, known before anything is allocated. */
export interface MemoryPlan {
  readonly weights: number;
  readonly kvCache: number;
  readonly recurrentState: number;
  readonly snapshots: number;
  readonly scratch: number;
  readonly other: number;
  readonly total: number;
}
