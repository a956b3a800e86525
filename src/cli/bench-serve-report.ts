import type { TimedRequest } from "./bench-serve-request.ts";
import { quantile } from "./measure.ts";

export interface BenchRun {
  readonly requests: readonly TimedRequest[];
  readonly durationMs: number;
  /** Requests a second; infinite where all are sent at once. */
  readonly requestRate: number;
  readonly maxConcurrency?: number;
}

/** Figures under the names that `vllm bench serve` saves them under; times in milliseconds. */
export function summarize({ requests, durationMs, requestRate, maxConcurrency }: BenchRun) {
  const good = requests.filter(({ error }) => error === undefined);
  const sum = (of: (request: TimedRequest) => number) => good.reduce((total, request) => total + of(request), 0);
  const seconds = durationMs / 1000;
  const [input, output] = [sum(({ inputTokens }) => inputTokens), sum(({ outputTokens }) => outputTokens)];
  // Of one token there is no time per token after the first.
  const long = good.filter(({ outputTokens }) => outputTokens > 1);
  return {
    completed: good.length,
    failed: requests.length - good.length,
    max_concurrency: maxConcurrency ?? null,
    request_rate: Number.isFinite(requestRate) ? requestRate : "inf",
    duration: seconds,
    total_input_tokens: input,
    total_output_tokens: output,
    request_throughput: good.length / seconds,
    output_throughput: output / seconds,
    total_token_throughput: (input + output) / seconds,
    ...distribution(
      "ttft",
      good.map(({ firstTokenMs }) => firstTokenMs),
    ),
    ...distribution(
      "tpot",
      long.map(({ totalMs, firstTokenMs, outputTokens }) => (totalMs - firstTokenMs) / (outputTokens - 1)),
    ),
    ...distribution(
      "itl",
      good.flatMap(({ interTokenMs }) => interTokenMs),
    ),
    ...distribution(
      "e2el",
      good.map(({ totalMs }) => totalMs),
    ),
  };
}

export type BenchSummary = ReturnType<typeof summarize>;

type Time = "ttft" | "tpot" | "itl" | "e2el";
type Distribution<T extends Time> = Record<`${"mean" | "median" | "p99"}_${T}_ms`, number>;

function distribution<T extends Time>(name: T, values: readonly number[]): Distribution<T> {
  const mean = values.reduce((a, b) => a + b, 0) / Math.max(1, values.length);
  const at = (share: number) => (values.length === 0 ? 0 : quantile(values, share));
  const entries = { mean, median: at(0.5), p99: at(0.99) };
  return Object.fromEntries(
    Object.entries(entries).map(([part, value]) => [`${part}_${name}_ms`, value]),
  ) as Distribution<T>;
}

/** The table that `vllm bench serve` prints, line for line. */
export function benchTable(summary: BenchSummary): string {
  const row = (label: string, value: number | string) =>
    `${label.padEnd(41)}${(typeof value === "string" || Number.isInteger(value) ? String(value) : value.toFixed(2)).padEnd(9)}`.trimEnd();
  const fixed = (value: number) => value.toFixed(2);
  const section = (title: string, label: string, name: Time) => [
    centred(title, "-"),
    row(`Mean ${label} (ms):`, fixed(summary[`mean_${name}_ms`])),
    row(`Median ${label} (ms):`, fixed(summary[`median_${name}_ms`])),
    row(`P99 ${label} (ms):`, fixed(summary[`p99_${name}_ms`])),
  ];
  return [
    centred(" Serving Benchmark Result ", "="),
    row("Successful requests:", summary.completed),
    row("Failed requests:", summary.failed),
    ...(summary.max_concurrency === null ? [] : [row("Maximum request concurrency:", summary.max_concurrency)]),
    ...(summary.request_rate === "inf"
      ? []
      : [row("Request rate configured (RPS):", fixed(Number(summary.request_rate)))]),
    row("Benchmark duration (s):", fixed(summary.duration)),
    row("Total input tokens:", summary.total_input_tokens),
    row("Total generated tokens:", summary.total_output_tokens),
    row("Request throughput (req/s):", fixed(summary.request_throughput)),
    row("Output token throughput (tok/s):", fixed(summary.output_throughput)),
    row("Total Token throughput (tok/s):", fixed(summary.total_token_throughput)),
    ...section("Time to First Token", "TTFT", "ttft"),
    ...section("Time per Output Token (excl. 1st token)", "TPOT", "tpot"),
    ...section("Inter-token Latency", "ITL", "itl"),
    ...section("End-to-end Latency", "E2EL", "e2el"),
    "=".repeat(WIDTH),
  ].join("\n");
}

const WIDTH = 50;

const centred = (title: string, fill: string): string =>
  title.padStart(Math.floor((WIDTH + title.length) / 2), fill).padEnd(WIDTH, fill);
