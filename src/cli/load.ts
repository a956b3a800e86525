import type { LoadProgress } from "../api/types.ts";
import { type LanguageModel, LLM } from "../node.ts";
import { loadingLine } from "./loading-line.ts";
import type { ModelOptions } from "./options.ts";
import { countText } from "./text.ts";

/** Loads a model, shows how that goes, and says on which adapter it runs. */
export async function loadLLM(
  source: string,
  { adapter, dtype, precise, reference, quantization, context, cache, memory }: ModelOptions,
): Promise<LanguageModel> {
  const showProgress = loadingLine();
  let notice: string | undefined;
  const onProgress = (progress: LoadProgress) => {
    notice = progress.store?.notice;
    showProgress(progress);
  };
  const llm = await LLM.load(source, {
    device: { adapter, dtype, precise, reference },
    quantization,
    maxContext: context,
    store: cache === false ? "none" : "auto",
    memory,
    onProgress,
  });
  if (notice) console.error(`sluice: ${notice}`);
  const { info } = llm;
  const kind = info.adapter.isSoftware && !reference ? ", on the CPU" : "";
  console.error(
    `${nameOf(info.label)}: ${countText(info.parameters)} parameters, ${info.maxContext} tokens of context; ` +
      `${info.adapter.name}${kind}, ${info.adapter.dtype}`,
  );
  return llm;
}

/** The last part of a folder's path or an address. */
const nameOf = (label: string): string =>
  label
    .replace(/[\\/]+$/, "")
    .split(/[\\/]/)
    .at(-1)!;
