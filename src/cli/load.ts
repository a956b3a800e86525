import type { LoadOptions } from "../api/types.ts";
import { type LanguageModel, LLM } from "../node.ts";
import { showLoading } from "./loading-line.ts";
import type { ModelOptions } from "./options.ts";
import { countText } from "./text.ts";

/** Loads a model, shows how that goes, and says on which adapter it runs. */
export async function loadLLM(
  source: string,
  { adapter, dtype, precise, fast, reference, quantization, context, cache, memory }: ModelOptions,
  dummy?: Pick<LoadOptions, "loadFormat" | "tokenizer">,
): Promise<LanguageModel> {
  const loading = showLoading();
  const llm = await LLM.load(source, {
    ...dummy,
    device: { adapter, dtype, precise, fast, reference },
    quantization,
    maxContext: context,
    store: cache === false ? "none" : "auto",
    memory,
    onProgress: loading.onProgress,
  });
  if (loading.notice) console.error(`sluice: ${loading.notice}`);
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
