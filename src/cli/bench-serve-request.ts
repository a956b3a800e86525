/** What one request of a benchmark came to. */
export interface TimedRequest {
  readonly error?: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Milliseconds: from sending to the first token, between tokens after it, and to the end. */
  readonly firstTokenMs: number;
  readonly interTokenMs: readonly number[];
  readonly totalMs: number;
}

export interface Target {
  readonly url: string;
  readonly model: string;
  readonly isChat: boolean;
  readonly apiKey?: string;
  readonly ignoreEos: boolean;
}

/** Asks for a streamed reply, and takes its times. Failures are results as well. */
export async function timeRequest(
  target: Target,
  prompt: { readonly text: string; readonly tokens: number },
  outputTokens: number,
): Promise<TimedRequest> {
  const start = performance.now();
  const times: number[] = [];
  let usage: { prompt_tokens?: number; completion_tokens?: number } | undefined;
  let error: string | undefined;
  try {
    const response = await post(target, prompt.text, outputTokens);
    if (!response.ok) throw new Error(`${response.status}: ${(await response.text()).slice(0, 300)}`);
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      usage = event.usage ?? usage;
      const [choice] = event.choices ?? [];
      const text = choice?.text ?? [choice?.delta?.content, choice?.delta?.reasoning_content].join("");
      if (text) times.push(performance.now());
    }
    if (times.length === 0) throw new Error("the reply was empty");
  } catch (cause) {
    error = (cause as Error).message;
  }
  return {
    error,
    inputTokens: usage?.prompt_tokens ?? prompt.tokens,
    outputTokens: usage?.completion_tokens ?? times.length,
    firstTokenMs: (times[0] ?? Number.NaN) - start,
    interTokenMs: times.slice(1).map((time, i) => time - times[i]),
    totalMs: (times.at(-1) ?? performance.now()) - start,
  };
}

function post({ url, model, isChat, apiKey, ignoreEos }: Target, text: string, tokens: number): Promise<Response> {
  const prompt = isChat ? { messages: [{ role: "user", content: text }] } : { prompt: text };
  const options = { max_tokens: tokens, temperature: 0, stream: true, stream_options: { include_usage: true } };
  return fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...(apiKey && { Authorization: `Bearer ${apiKey}` }) },
    body: JSON.stringify({ model, ...prompt, ...options, ...(ignoreEos && { ignore_eos: true }) }),
  });
}

interface ChunkOfReply {
  readonly error?: { readonly message: string };
  readonly usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string | null; readonly reasoning_content?: string | null };
  }[];
}

async function* events(response: Response): AsyncGenerator<ChunkOfReply, void, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    const lines = text.split(/\r?\n/);
    text = lines.pop()!;
    for (const line of lines) {
      if (line.startsWith("data:") && !line.includes("[DONE]")) yield JSON.parse(line.slice(5));
    }
  }
}
