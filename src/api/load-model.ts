import { GrammarEngine } from "../constraints/grammar-engine.ts";
import { ChatTemplate } from "../tokenizer/chat-template.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { companionOptions } from "./companion-options.ts";
import { defaultSampling } from "./describe-model.ts";
import { fingerprint } from "./fingerprint.ts";
import { checkOptions, runnerOptions } from "./load-options.ts";
import { LoadProgress } from "./load-progress.ts";
import { type OpenedModel, openModel } from "./open-model.ts";
import type { Platform } from "./platform.ts";
import { type SamplingDefaults, samplingDefaults } from "./sampling.ts";
import { type Loading, type StartedModel, startModel } from "./start-model.ts";
import type { LoadOptions, ModelSource, StoreReport } from "./types.ts";

export interface LoadedModel extends StartedModel, Words {
  readonly fingerprint: string;
  /** Ends what goes on with the files behind the model's back: what was fetched so far is kept. */
  readonly stopStoring: () => Promise<void>;
}

/** What stands between text and a model. */
interface Words {
  readonly tokenizer: Tokenizer | undefined;
  readonly template: ChatTemplate;
  /** Absent where nothing could end a reply that is held to a format. */
  readonly grammars: GrammarEngine | undefined;
  readonly defaults: SamplingDefaults;
}

/** Opens a checkpoint and puts the model on a device. Whatever fails leaves nothing open. */
export async function loadModel(platform: Platform, source: ModelSource, options: LoadOptions): Promise<LoadedModel> {
  options.signal?.throwIfAborted();
  checkOptions(options);
  const progress = new LoadProgress(options.onProgress);
  const { store = "auto" } = options;
  const onReport = (report: StoreReport) => progress.stored(report);
  const opened = await openModel(platform, source, { ...options, store, onReport });
  const { checkpoint, config, sources } = opened;
  let started: StartedModel | undefined;
  try {
    const words = wordsOf(opened, platform);
    const loading: Loading = {
      platform,
      source,
      options,
      progress,
      opened,
      runnerOptions: runnerOptions(config, options, words.tokenizer?.vocabularySize),
      sampling: defaultSampling(checkpoint, words.defaults, config),
      fingerprint: await fingerprint(sources),
      alone: () => loadModel(platform, source, { ...options, companion: undefined }),
      // Models that are tried and not taken leave the files open.
      closeFiles: () => void (started && checkpoint.close()),
    };
    started = await startAsAsked(loading);
    progress.report("ready");
    return { ...words, ...started, fingerprint: loading.fingerprint, stopStoring: () => checkpoint.close() };
  } catch (error) {
    started?.engine.dispose();
    throw error;
  } finally {
    // Experts that are not on the device are read as long as the model lives; its runner closes the files then.
    if (!started?.keepsFiles) await checkpoint.close();
  }
}

async function startAsAsked(loading: Loading): Promise<StartedModel> {
  const { platform, options, fingerprint } = loading;
  const { companion } = options;
  if (!companion) return startModel(loading);
  const { mode = "auto" } = companionOptions(companion);
  if (mode === "auto") return (await import("./load-best.ts")).loadBest(loading, startModel);
  const { leanOn } = await import("./lean.ts");
  return startModel(loading, await leanOn(platform, companion, fingerprint, mode));
}

function wordsOf({ checkpoint, config }: OpenedModel, { startGrammars }: Platform): Words {
  const { label, generationConfig } = checkpoint;
  const tokenizer = checkpoint.tokenizer && new Tokenizer(checkpoint.tokenizer, label);
  const template = new ChatTemplate(checkpoint.chatTemplate, label);
  const endOfTurn = ["<|im_end|>", "<|endoftext|>"].map((token) => tokenizer?.tokenId(token));
  const defaults = samplingDefaults(generationConfig, checkpoint.config, endOfTurn);
  const { stopIds } = defaults;
  const { vocabularySize } = config;
  const grammars =
    tokenizer && stopIds.length > 0
      ? new GrammarEngine(tokenizer, { vocabularySize, stopIds, startThread: startGrammars })
      : undefined;
  return { tokenizer, template, grammars, defaults };
}
