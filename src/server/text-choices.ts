import type { LanguageModel } from "../api/llm-interface.ts";
import type { GenerateParams, GenerationEvent, ScoredToken } from "../api/types.ts";
import { withSeedOf } from "./fields.ts";
import type { Choice } from "./job.ts";

/** The prompts of a request that may hold one or several. */
export function promptList(prompt: string | number[] | string[] | number[][]): (string | readonly number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as string[] | number[][]);
}

/** The replies to one prompt. With `echo` they begin with it, and its tokens are scored where that is asked for. */
export function textChoices(
  llm: LanguageModel,
  prompt: string | readonly number[],
  count: number,
  params: GenerateParams,
  echo: boolean,
): Choice[] {
  let echoed: Promise<GenerationEvent> | undefined;
  return Array.from(
    { length: count },
    (_, index) =>
      async function* (signal: AbortSignal): AsyncGenerator<GenerationEvent, void, void> {
        const own = { ...withSeedOf(params, index), signal };
        if (echo) {
          echoed ??= echoEvent(llm, prompt, own);
          yield await echoed;
        }
        yield* own.maxTokens === 0 ? readOnly(llm, prompt, own) : llm.generate(prompt, own);
      },
  );
}

async function echoEvent(
  llm: LanguageModel,
  prompt: string | readonly number[],
  { logprobs, signal }: GenerateParams,
): Promise<GenerationEvent> {
  const tokens = typeof prompt === "string" ? await llm.tokenize(prompt) : prompt;
  const text = typeof prompt === "string" ? prompt : await llm.detokenize(prompt);
  if (logprobs === undefined) return { kind: "text", text, tokenIds: [] };
  const scored = await llm.score(tokens, { logprobs, signal });
  const first = await llm.detokenize(tokens.slice(0, 1));
  const bytes = Array.from(new TextEncoder().encode(first));
  const unscored: ScoredToken = { id: tokens[0], text: first, bytes, logprob: Number.NaN, top: [] };
  return { kind: "text", text, tokenIds: [], logprobs: [unscored, ...scored] };
}

/** Reads the prompt into the cache, and writes nothing: the token that reading it ends with is dropped. */
export async function* readOnly(
  llm: LanguageModel,
  prompt: string | readonly number[],
  params: GenerateParams,
): AsyncGenerator<GenerationEvent, void, void> {
  for await (const event of llm.generate(prompt, { ...params, maxTokens: 1, logprobs: undefined })) {
    if (event.kind === "prefill") yield event;
    if (event.kind !== "finish") continue;
    const usage = { ...event.usage, completionTokens: 0 };
    const reason = event.reason === "abort" ? "abort" : "length";
    yield { kind: "finish", reason, text: "", tokenIds: [], usage };
  }
}
