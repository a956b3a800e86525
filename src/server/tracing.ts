import type { RequestRecord } from "./request-record.ts";

export interface Tracing {
  /** Makes a span of a request that has been answered. */
  trace(request: RequestRecord): void;
  /** Sends what is left. */
  close(): Promise<void>;
}

/** OpenTelemetry is not a dependency: it is as large as the rest of the package, and few want it. */
export const TRACING_PACKAGES = [
  "@opentelemetry/api",
  "@opentelemetry/sdk-trace-node",
  "@opentelemetry/exporter-trace-otlp-http",
] as const;

/**
 * Sends a span for every request to OTEL_EXPORTER_OTLP_ENDPOINT, by OpenTelemetry's own libraries, which read their other
 * variables (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, …) themselves. Fails where they are not installed.
 */
export async function startTracing(): Promise<Tracing> {
  const [api, sdk, otlp] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace-node"),
    import("@opentelemetry/exporter-trace-otlp-http"),
  ]);
  process.env.OTEL_SERVICE_NAME ??= "sluice";
  const provider = new sdk.NodeTracerProvider({
    spanProcessors: [new sdk.BatchSpanProcessor(new otlp.OTLPTraceExporter())],
  });
  provider.register();
  const tracer = api.trace.getTracer("sluice");
  return {
    trace(request) {
      const { traceparent, startMs, totalMs, status, replies } = request;
      const parent = api.propagation.extract(api.ROOT_CONTEXT, { traceparent });
      const span = tracer.startSpan(
        replies ? "llm_request" : `${request.method} ${request.path}`,
        { kind: api.SpanKind.SERVER, startTime: startMs, attributes: attributesOf(request) },
        parent,
      );
      if (status >= 500) span.setStatus({ code: api.SpanStatusCode.ERROR });
      span.end(startMs + totalMs);
    },
    close: () => provider.shutdown(),
  };
}

/** Named as OpenTelemetry's conventions have it, and as vLLM does where those say nothing. */
function attributesOf({ id, method, path, status, totalMs, replies }: RequestRecord) {
  return {
    "http.request.method": method,
    "url.path": path,
    "http.response.status_code": status,
    "gen_ai.request.id": id,
    ...(replies && {
      "gen_ai.usage.input_tokens": replies.promptTokens,
      "gen_ai.usage.output_tokens": replies.completionTokens,
      "gen_ai.response.finish_reasons": [...replies.finish],
      "gen_ai.latency.e2e": totalMs / 1000,
      ...(replies.queueMs !== undefined && { "gen_ai.latency.time_in_queue": replies.queueMs / 1000 }),
      ...(replies.firstTokenMs !== undefined && { "gen_ai.latency.time_to_first_token": replies.firstTokenMs / 1000 }),
    }),
  };
}
