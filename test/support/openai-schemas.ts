import * as z from "zod";

/** The shapes that OpenAI publishes, strict about what they name; what other servers add is allowed. */

const usage = z.object({
  prompt_tokens: z.number().int().min(0),
  completion_tokens: z.number().int().min(0),
  total_tokens: z.number().int().min(0),
  prompt_tokens_details: z.object({ cached_tokens: z.number().int().min(0) }),
  completion_tokens_details: z.object({ reasoning_tokens: z.number().int().min(0) }),
});

const tokenLogprob = z.object({
  token: z.string(),
  logprob: z.number().max(0),
  bytes: z.array(z.number().int().min(0).max(255)).nullable(),
});

const logprobs = z.object({
  content: z.array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob) })).nullable(),
  refusal: z.null(),
});

const finishReason = z.enum(["stop", "length", "tool_calls", "content_filter"]);
const head = { id: z.string().min(1), created: z.number().int(), model: z.string(), system_fingerprint: z.string() };

export const chatCompletion = z.object({
  ...head,
  object: z.literal("chat.completion"),
  choices: z.array(
    z.looseObject({
      index: z.number().int(),
      message: z.object({
        role: z.literal("assistant"),
        content: z.string().nullable(),
        refusal: z.null(),
        tool_calls: z
          .array(
            z.object({
              id: z.string().min(1),
              type: z.literal("function"),
              function: z.object({ name: z.string(), arguments: z.string() }),
            }),
          )
          .optional(),
        reasoning_content: z.string().optional(),
        reasoning: z.string().optional(),
      }),
      logprobs: logprobs.nullable(),
      finish_reason: finishReason,
    }),
  ),
  usage,
});

export const chatChunk = z.object({
  ...head,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(
    z.object({
      index: z.number().int(),
      delta: z.strictObject({
        role: z.literal("assistant").optional(),
        content: z.string().nullable().optional(),
        reasoning_content: z.string().optional(),
        reasoning: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              index: z.number().int(),
              id: z.string().optional(),
              type: z.literal("function").optional(),
              function: z.strictObject({ name: z.string().optional(), arguments: z.string() }),
            }),
          )
          .optional(),
      }),
      logprobs: logprobs.nullable(),
      finish_reason: finishReason.nullable(),
    }),
  ),
  usage: usage.nullable().optional(),
});

export const completion = z.object({
  ...head,
  object: z.literal("text_completion"),
  choices: z.array(
    z.object({
      index: z.number().int(),
      text: z.string(),
      logprobs: z
        .object({
          tokens: z.array(z.string()),
          token_logprobs: z.array(z.number().nullable()),
          top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
          text_offset: z.array(z.number().int()),
        })
        .nullable(),
      finish_reason: finishReason.nullable(),
    }),
  ),
  usage: usage.nullable().optional(),
});

export const modelList = z.object({
  object: z.literal("list"),
  data: z.array(
    z.object({ id: z.string(), object: z.literal("model"), created: z.number().int(), owned_by: z.string() }),
  ),
});

export const errorBody = z.object({
  error: z.looseObject({
    message: z.string().min(1),
    type: z.enum([
      "invalid_request_error",
      "authentication_error",
      "not_found_error",
      "rate_limit_error",
      "server_error",
      "overloaded_error",
    ]),
    param: z.string().nullable(),
    code: z.string(),
  }),
});

const itemHead = { id: z.string(), status: z.enum(["in_progress", "completed", "incomplete"]) };
const outputText = z.object({
  type: z.literal("output_text"),
  text: z.string(),
  annotations: z.array(z.unknown()),
});

const outputItem = z.discriminatedUnion("type", [
  z.object({
    ...itemHead,
    type: z.literal("message"),
    role: z.literal("assistant"),
    content: z.array(outputText),
  }),
  z.object({
    ...itemHead,
    type: z.literal("reasoning"),
    summary: z.array(z.unknown()),
    content: z.array(z.object({ type: z.literal("reasoning_text"), text: z.string() })),
  }),
  z.object({
    ...itemHead,
    type: z.literal("function_call"),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
  }),
]);

export const response = z.object({
  id: z.string(),
  object: z.literal("response"),
  created_at: z.number(),
  status: z.enum(["completed", "failed", "in_progress", "incomplete"]),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.enum(["max_output_tokens", "content_filter"]) }).nullable(),
  instructions: z.string().nullable(),
  metadata: z.record(z.string(), z.string()).nullable(),
  model: z.string(),
  output: z.array(outputItem),
  parallel_tool_calls: z.boolean(),
  temperature: z.number().nullable(),
  tool_choice: z.unknown(),
  tools: z.array(z.unknown()),
  top_p: z.number().nullable(),
  usage: z
    .object({
      input_tokens: z.number().int(),
      input_tokens_details: z.object({ cached_tokens: z.number().int() }),
      output_tokens: z.number().int(),
      output_tokens_details: z.object({ reasoning_tokens: z.number().int() }),
      total_tokens: z.number().int(),
    })
    .nullable(),
});

const sequence = { sequence_number: z.number().int().min(0) };
const inItem = { ...sequence, item_id: z.string(), output_index: z.number().int() };
const inPart = { ...inItem, content_index: z.number().int() };
const part = z.union([outputText, z.object({ type: z.literal("reasoning_text"), text: z.string() })]);

export const responseEvent = z.union([
  ...(["created", "in_progress", "completed", "incomplete", "failed"] as const).map((name) =>
    z.object({ type: z.literal(`response.${name}`), ...sequence, response }),
  ),
  ...(["added", "done"] as const).flatMap((name) => [
    z.object({
      type: z.literal(`response.output_item.${name}`),
      ...sequence,
      output_index: z.number().int(),
      item: outputItem,
    }),
    z.object({ type: z.literal(`response.content_part.${name}`), ...inPart, part }),
  ]),
  z.object({
    type: z.literal("response.output_text.delta"),
    ...inPart,
    delta: z.string(),
    logprobs: z.array(z.unknown()),
  }),
  z.object({
    type: z.literal("response.output_text.done"),
    ...inPart,
    text: z.string(),
    logprobs: z.array(z.unknown()),
  }),
  z.object({ type: z.literal("response.reasoning_text.delta"), ...inPart, delta: z.string() }),
  z.object({ type: z.literal("response.reasoning_text.done"), ...inPart, text: z.string() }),
  z.object({ type: z.literal("response.function_call_arguments.delta"), ...inItem, delta: z.string() }),
  z.object({
    type: z.literal("response.function_call_arguments.done"),
    ...inItem,
    name: z.string(),
    arguments: z.string(),
  }),
]);
