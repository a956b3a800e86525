import { LLM } from "../../src/index.ts";

/** What one reply of one engine took. */
export interface Reply {
  readonly text: string;
  readonly promptTokens: number;
  readonly tokens: number;
  /** As the page sees it. */
  readonly firstTokenMs: number;
  /** As the engine says it, without what its streams cost. */
  readonly prefillPerSecond: number;
  readonly decodePerSecond: number;
}

interface Timings {
  readonly prompt_n: number;
  readonly predicted_n: number;
  readonly prompt_per_second: number;
  readonly predicted_per_second: number;
}

interface Chunk {
  readonly choices: readonly { readonly text: string }[];
  readonly timings?: Timings;
}

/** The part of wllama's interface that is used here; the package is no dependency. */
interface Wllama {
  loadModelFromUrl(url: string, options: object): Promise<void>;
  createCompletion(options: object): Promise<AsyncIterable<Chunk>>;
  isMultithread(): boolean;
  getNumThreads(): number;
}

async function openSluice(model: string, context: number) {
  const llm = await LLM.load(new URL(model, location.href).href, { maxContext: context, store: "none" });
  const { name, dtype } = llm.info.adapter;
  return {
    name: `Sluice on ${name}, ${dtype}`,
    async reply(prompt: string, maxTokens: number): Promise<Reply> {
      const reply = await llm.generate(prompt, { maxTokens, temperature: 0, ignoreEos: true }).finish();
      const { promptTokens, completionTokens, timeToFirstTokenMs, prefillTokensPerSecond, decodeTokensPerSecond } =
        reply.usage;
      return {
        text: reply.text,
        promptTokens,
        tokens: completionTokens,
        firstTokenMs: timeToFirstTokenMs,
        prefillPerSecond: prefillTokensPerSecond,
        decodePerSecond: decodeTokensPerSecond,
      };
    },
  };
}

async function openWllama(model: string, { context, gpuLayers }: CompareOptions, threads: number) {
  const module = "/wllama/index.js";
  const { Wllama } = await import(/* @vite-ignore */ module);
  const wllama: Wllama = new Wllama({ default: "/wllama/wasm/wllama.wasm" }, { suppressNativeLog: true });
  const url = new URL(model, location.href).href;
  const options = { n_ctx: context, n_parallel: 1, n_gpu_layers: gpuLayers, useCache: false, n_threads: threads };
  await wllama.loadModelFromUrl(url, options);
  return {
    name: `wllama, ${gpuLayers > 0 ? "WebGPU" : "CPU"}, ${wllama.isMultithread() ? wllama.getNumThreads() : 1} threads`,
    async reply(prompt: string, maxTokens: number): Promise<Reply> {
      const start = performance.now();
      let firstTokenMs = 0;
      let text = "";
      let timings: Timings | undefined;
      const sampling = { temperature: 0, ignore_eos: true, cache_prompt: false };
      const stream = await wllama.createCompletion({ prompt, max_tokens: maxTokens, stream: true, ...sampling });
      for await (const chunk of stream) {
        firstTokenMs ||= performance.now() - start;
        text += chunk.choices[0]?.text ?? "";
        timings = chunk.timings ?? timings;
      }
      return {
        text,
        promptTokens: timings!.prompt_n,
        tokens: timings!.predicted_n,
        firstTokenMs,
        prefillPerSecond: timings!.prompt_per_second,
        decodePerSecond: timings!.predicted_per_second,
      };
    },
  };
}

/** Loads the model in all engines, and has them reply in turns. */
async function compare(prompts: readonly string[], options: CompareOptions) {
  const model = "/bench/model.gguf";
  const engines = [await openSluice(model, options.context)];
  for (const threads of options.threads) engines.push(await openWllama(model, options, threads));
  const results: { name: string; replies: Reply[] }[] = engines.map(({ name }) => ({ name, replies: [] }));
  for (const prompt of prompts) {
    for (const [i, { name, reply }] of engines.entries()) {
      const measured = await reply(prompt, options.maxTokens);
      results[i].replies.push(measured);
      console.info(name, JSON.stringify(measured));
    }
  }
  return results;
}

export interface CompareOptions {
  readonly maxTokens: number;
  readonly context: number;
  /** Layers that wllama computes with WebGPU, which wants f16. */
  readonly gpuLayers: number;
  /** A wllama for each count of threads. */
  readonly threads: readonly number[];
}

export type Compare = typeof compare;

Object.assign(globalThis, { compare });
