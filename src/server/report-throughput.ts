import type { LanguageModel } from "../api/llm-interface.ts";
import type { Log } from "./log.ts";

/** Says how much is going on every so often, as vLLM does, and nothing while nothing is. Call the result to stop. */
export function reportThroughput(llm: Pick<LanguageModel, "stats">, log: Log, everyMs = 10_000): () => void {
  let last: { prompt: number; reply: number; atMs: number } | undefined;
  const report = async () => {
    const { tokens, running, waiting, blocks, cachedTokens } = await llm.stats();
    const now = { ...tokens, atMs: performance.now() };
    const before = last;
    last = now;
    if (!before) return;
    const seconds = (now.atMs - before.atMs) / 1000;
    const promptRate = (now.prompt - before.prompt) / seconds;
    const replyRate = (now.reply - before.reply) / seconds;
    if (promptRate === 0 && replyRate === 0 && running + waiting === 0) return;
    const cacheUsage = blocks.used / blocks.total;
    const hitRate = cachedTokens.queried === 0 ? 0 : cachedTokens.hit / cachedTokens.queried;
    log.info(
      `Avg prompt throughput: ${promptRate.toFixed(1)} tokens/s, Avg generation throughput: ${replyRate.toFixed(1)} tokens/s, ` +
        `Running: ${running} reqs, Waiting: ${waiting} reqs, GPU KV cache usage: ${percent(cacheUsage)}, ` +
        `Prefix cache hit rate: ${percent(hitRate)}`,
      { promptRate, replyRate, running, waiting, cacheUsage, hitRate },
    );
  };
  // A device that was lost has no numbers; whoever asks for replies is told.
  const tick = () => void report().catch(() => {});
  tick();
  const timer = setInterval(tick, everyMs).unref();
  return () => clearInterval(timer);
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
