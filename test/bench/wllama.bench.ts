import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, expect, test } from "vitest";
import { quantile } from "../../src/cli/measure.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { launchBrowser } from "../support/browser.ts";
import { ggufModel } from "../support/gguf-model.ts";
import { tokenizerMetadata } from "../support/gguf-tokenizer.ts";
import { writeGguf } from "../support/gguf-writer.ts";
import type { Compare, Reply } from "./wllama-page.ts";

/** The folder of the package; it is large and used by nothing else, so it is no dependency: `npm i @wllama/wllama@3.8` somewhere. */
const PACKAGE = process.env.SLUICE_WLLAMA ?? "node_modules/@wllama/wllama";
const GPU_LAYERS = Number(process.env.SLUICE_WLLAMA_GPU_LAYERS ?? 0);
const THREADS = (process.env.SLUICE_WLLAMA_THREADS ?? String(availableParallelism())).split(",").map(Number);
const REPEATS = Number(process.env.SLUICE_BENCH_REPEATS ?? 5);

let browser: Browser | undefined;
let server: ViteDevServer | undefined;

afterAll(async () => {
  await browser?.close();
  await server?.close();
});

/**
 * Prints prefill, decode and time to first token of Sprout in one browser, by Sluice and by wllama, from the same GGUF
 * (Q4_0; embedding and head Q8_0). The engines take turns; figures are medians of SLUICE_BENCH_REPEATS replies, after
 * one that is not counted. SLUICE_WLLAMA_THREADS lists the threads of wllamas (default: one wllama, as many as there are cores);
 * SLUICE_WLLAMA_GPU_LAYERS=99 has them use WebGPU, which wants f16.
 */
test.skipIf(!existsSync(PACKAGE))("Sluice and wllama in one browser", async () => {
  server = await serve(await sproutGguf());
  browser = await launchBrowser();
  const page = await browser.newPage();
  page.on("console", (message) => ["error", "info"].includes(message.type()) && console.log(message.text()));
  await page.goto(new URL("/bench/", server.resolvedUrls!.local[0]).href);
  await page.waitForFunction("globalThis.compare !== undefined");
  const options = { maxTokens: 64, context: 2048, gpuLayers: GPU_LAYERS, threads: THREADS };
  const results = await page.evaluate(
    ([prompts, options]) => (globalThis as unknown as { compare: Compare }).compare(prompts, options),
    [await prompts(), options] as const,
  );
  const rows = results.map(({ name, replies }) => ({ name, ...medians(replies.slice(1)) }));
  const [ours, ...others] = rows;
  console.table(rows);
  for (const [i, theirs] of others.entries()) {
    const alike = results[0].replies.filter(({ text }, n) => text === results[i + 1].replies[n].text).length;
    console.log(
      `Sluice / ${theirs.name}: prefill ${(ours.prefill / theirs.prefill).toFixed(2)}, ` +
        `decode ${(ours.decode / theirs.decode).toFixed(2)}, ` +
        `time to first token ${(ours.firstTokenMs / theirs.firstTokenMs).toFixed(2)}; ` +
        `${alike} of ${REPEATS + 1} replies are the same`,
    );
    expect(ours.promptTokens).toBe(theirs.promptTokens);
  }
});

const medians = (replies: readonly Reply[]) => ({
  promptTokens: quantile(
    replies.map((r) => r.promptTokens),
    0.5,
  ),
  tokens: quantile(
    replies.map((r) => r.tokens),
    0.5,
  ),
  prefill: quantile(
    replies.map((r) => r.prefillPerSecond),
    0.5,
  ),
  decode: quantile(
    replies.map((r) => r.decodePerSecond),
    0.5,
  ),
  firstTokenMs: quantile(
    replies.map((r) => r.firstTokenMs),
    0.5,
  ),
});

/** Texts of about 500 tokens that begin differently, so that nothing kept of one serves another. */
async function prompts(): Promise<string[]> {
  const { heldOut } = JSON.parse(await readFile("test/fixtures/sprout-tokenizer/reference.json", "utf8"));
  return Array.from({ length: REPEATS + 1 }, (_, i) => `Part ${i + 1}. ${heldOut[0].text.slice(0, 1900)}`);
}

async function sproutGguf(): Promise<Uint8Array<ArrayBuffer>> {
  const checkpoint = await openCheckpoint(await FolderSource.open("demo/public/models/sprout"));
  try {
    const type = (name: string) => (/^(token_embd|output)\./.test(name) ? "Q8_0" : "Q4_0");
    const { metadata, tensors } = await ggufModel(checkpoint, { type });
    const rows = checkpoint.tensors.get("model.embed_tokens.weight")!.shape[0];
    // llama.cpp wants one number here, though layers without a cache have no such heads.
    const heads = { "qwen3next.attention.head_count_kv": Number(checkpoint.config.num_key_value_heads) };
    return writeGguf({ ...metadata, ...heads, ...tokenizerMetadata(checkpoint, rows) }, tensors);
  } finally {
    await checkpoint.close();
  }
}

/** The page with both engines, isolated as threads want it, and the model. */
async function serve(model: Uint8Array<ArrayBuffer>): Promise<ViteDevServer> {
  const page = `<!doctype html><script type="module" src="/test/bench/wllama-page.ts"></script>`;
  const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
  const server = await createServer({
    mode: "test",
    root: ".",
    logLevel: "error",
    server: { port: 0, host: "127.0.0.1", watch: null, hmr: false, headers },
    optimizeDeps: { noDiscovery: true },
    plugins: [
      {
        name: "wllama-page",
        configureServer: ({ middlewares }) => {
          middlewares.use("/bench/model.gguf", (request, response) => {
            const range = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? "");
            const [from, to] = range ? [Number(range[1]), Number(range[2] || model.length - 1) + 1] : [0, model.length];
            if (range) response.setHeader("content-range", `bytes ${from}-${to - 1}/${model.length}`);
            response.writeHead(range ? 206 : 200, {
              ...headers,
              "content-length": to - from,
              "accept-ranges": "bytes",
            });
            response.end(request.method === "HEAD" ? undefined : model.subarray(from, to));
          });
          middlewares.use("/wllama", async (request, response) => {
            const file = await readFile(join(PACKAGE, "esm", request.url!.split("?")[0]));
            const type = request.url!.includes(".wasm") ? "application/wasm" : "text/javascript";
            response.writeHead(200, { ...headers, "content-type": type }).end(file);
          });
          middlewares.use("/bench", (_, response) =>
            response.writeHead(200, { ...headers, "content-type": "text/html" }).end(page),
          );
        },
      },
    ],
  });
  return server.listen();
}
