import type { ChatCompletion, ChatCompletionChunk } from "openai/resources/chat/completions";
import type { Completion } from "openai/resources/completions";
import { dataOf } from "../support/http.ts";
import * as openai from "../support/openai-schemas.ts";

/** What the server sends has OpenAI's published types: the compiler compares them with the schemas that check it. */
const checks = {
  chat: (value: unknown): Omit<ChatCompletion, "choices"> & { choices: Pick<ChatCompletion.Choice, "index">[] } =>
    openai.chatCompletion.parse(value),
  chunk: (value: unknown): ChatCompletionChunk => openai.chatChunk.parse(value) as ChatCompletionChunk,
  completion: (value: unknown): Omit<Completion, "choices"> => openai.completion.parse(value) as Completion,
  response: (value: unknown) => openai.response.parse(value),
  responseEvent: (value: unknown) => openai.responseEvent.parse(value),
  error: (value: unknown) => openai.errorBody.parse(value),
};

const KINDS = [
  { path: /chat\/completions$/, whole: checks.chat, part: checks.chunk },
  { path: /\/completions$/, whole: checks.completion, part: checks.completion },
  { path: /\/responses$/, whole: checks.response, part: checks.responseEvent },
];

export interface CheckedFetch {
  readonly fetch: typeof fetch;
  /** How many replies and events of streams were read. Fails where one was not as OpenAI writes it. */
  count(): number;
}

/** `fetch` for clients, which reads along. */
export function checkedFetch(): CheckedFetch {
  let count = 0;
  const errors: unknown[] = [];
  return {
    async fetch(input, init) {
      const reply = await fetch(input, init);
      const url = typeof input === "string" ? input : input instanceof URL ? input.href : input.url;
      let text = "";
      const decoder = new TextDecoder();
      // Not a tee, whose one branch would keep the reply when the client leaves the other.
      const along = new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          text += decoder.decode(chunk, { stream: true });
          controller.enqueue(chunk);
        },
        flush() {
          try {
            count += checkText(url, reply, text);
          } catch (error) {
            errors.push(error);
          }
        },
      });
      return new Response(reply.body!.pipeThrough(along), reply);
    },
    count() {
      if (errors.length > 0) throw errors[0];
      return count;
    },
  };
}

function checkText(url: string, reply: Response, text: string): number {
  const kind = KINDS.find(({ path }) => path.test(new URL(url).pathname));
  const isStream = reply.headers.get("content-type") === "text/event-stream";
  if (!reply.ok) checks.error(JSON.parse(text));
  else if (kind && !isStream) kind.whole(JSON.parse(text));
  else if (kind) {
    const data = dataOf(text).filter((event) => event !== "[DONE]");
    for (const event of data) kind.part(JSON.parse(event));
    return data.length;
  }
  return 1;
}
