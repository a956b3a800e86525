import OpenAI from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { answer, capital, KEY, question, thought, weather, weatherThere, weatherTools } from "./asked.ts";
import { checkedFetch } from "./checked-fetch.ts";

/** OpenAI's own client, with its defaults but for retries. */
export function openaiNode(url: () => string): void {
  const checked = checkedFetch();
  const client = (more: object = {}) =>
    new OpenAI({ baseURL: `${url()}/v1`, apiKey: KEY, maxRetries: 0, fetch: checked.fetch, ...more });
  const model = "sprout";
  const greedy = { model, temperature: 0, max_completion_tokens: 60 };
  const messages = [question];

  describe("openai-node", () => {
    it("chats, and streams the same", async () => {
      const whole = await client().chat.completions.create({ ...greedy, messages });
      expect(whole.choices[0].message.content).toBe(capital);
      const stream = client().chat.completions.stream({ ...greedy, messages, stream_options: { include_usage: true } });
      let text = "";
      stream.on("content", (delta) => {
        text += delta;
      });
      const last = await stream.finalChatCompletion();
      expect([text, last.choices[0].message.content]).toEqual([capital, capital]);
      expect(last.usage!.completion_tokens).toBe(whole.usage!.completion_tokens);
    });

    it.each([true, false])("runs tools to the answer, streamed: %s", async (stream) => {
      const run = { ...greedy, messages: [weather], tools: weatherTools(), stream };
      const runner = client().chat.completions.runTools(run as never);
      expect(await runner.finalContent()).toContain(answer);
      const call = await runner.finalFunctionToolCall();
      expect(call).toMatchObject({ name: "get_weather" });
      expect(JSON.parse(call!.arguments)).toEqual({ city: "Lisbon" });
    });

    it("parses strict tools and calls that are required, by Zod", async () => {
      const parameters = z.object({ minutes: z.number().int(), label: z.string().max(12) });
      for (const tool_choice of ["auto", "required"] as const) {
        const parsed = await client().chat.completions.parse({
          ...greedy,
          messages: [{ role: "user", content: "Set a timer for 5 minutes for the tea." }],
          tools: [zodFunction({ name: "set_timer", parameters })],
          tool_choice,
        });
        const [call] = parsed.choices[0].message.tool_calls!;
        expect(call.function.parsed_arguments).toMatchObject({ minutes: 5 });
      }
    });

    it("parses replies of a schema, whole and streamed", async () => {
      const City = z.object({ city: z.string().max(20), country: z.enum(["France", "Italy"]) });
      const format = { ...greedy, messages, response_format: zodResponseFormat(City, "city") };
      const parsed = await client().chat.completions.parse(format);
      expect(City.parse(parsed.choices[0].message.parsed)).toEqual(parsed.choices[0].message.parsed);
      const last = await client().chat.completions.stream(format).finalChatCompletion();
      expect(last.choices[0].message.parsed).toEqual(parsed.choices[0].message.parsed);
      const response = await client().responses.parse({
        ...{ model, temperature: 0, input: question.content, max_output_tokens: 60 },
        text: { format: zodTextFormat(City, "city") },
      });
      expect(response.output_parsed).toEqual(parsed.choices[0].message.parsed);
    });

    it("streams responses, and gives tools back", async () => {
      const tools = [{ type: "function", ...weatherTools()[0].function, strict: true }] as never;
      const body = { model, temperature: 0, max_output_tokens: 60, tools };
      const first = await client()
        .responses.stream({ ...body, input: [weather] })
        .finalResponse();
      const call = first.output.find((item) => item.type === "function_call")!;
      expect(JSON.parse(call.arguments)).toEqual({ city: "Lisbon" });
      const output = { type: "function_call_output", call_id: call.call_id, output: weatherThere } as const;
      const second = await client().responses.create({ ...body, input: [weather, call, output] });
      expect(second.output_text).toContain(answer);
    });

    it("reads thoughts apart from the content", async () => {
      const body = { ...greedy, messages: [question, thought], continue_final_message: true, thinking_token_budget: 3 };
      const { message } = (await client().chat.completions.create(body as never)).choices[0];
      const { reasoning_content, reasoning } = message as { reasoning_content?: string; reasoning?: string };
      expect(reasoning_content).toBeTruthy();
      expect(reasoning).toBe(reasoning_content);
      expect(message.content).not.toContain("think>");
    });

    it("reads log-probabilities", async () => {
      const body = { ...greedy, messages, logprobs: true, top_logprobs: 2 };
      const { content } = (await client().chat.completions.create(body)).choices[0].logprobs!;
      expect(content!.map(({ token }) => token).join("")).toBe(capital);
      expect(content!.every(({ logprob, top_logprobs }) => logprob <= 0 && top_logprobs[0].logprob === logprob)).toBe(
        true,
      );
    });

    it("completes texts and lists its model", async () => {
      const prompt = ["The sun", "The moon"];
      const { choices } = await client().completions.create({ model, prompt, max_tokens: 4, temperature: 0 });
      expect(choices).toHaveLength(2);
      const listed = await client().models.list();
      expect(listed.data.map(({ id }) => id)).toEqual(["sprout"]);
      expect((await client().models.retrieve("sprout")).id).toBe("sprout");
    });

    it("meets errors as classes of its own", async () => {
      const wrongKey = client({ apiKey: "wrong" }).models.list();
      await expect(wrongKey).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
      const absent = client().chat.completions.create({ ...greedy, model: "gpt-9", messages });
      await expect(absent).rejects.toMatchObject({ status: 404, code: "model_not_found", param: "model" });
      const embeddings = client().embeddings.create({ model, input: "x" });
      await expect(embeddings).rejects.toMatchObject({ status: 501, message: expect.stringMatching(/embeddings/) });
      const long = [{ role: "user", content: "word ".repeat(2000) }] as const;
      for (const stream of [false, true]) {
        const failed = client().chat.completions.create({ ...greedy, stream, messages: [...long] });
        await expect(failed).rejects.toBeInstanceOf(OpenAI.BadRequestError);
        await expect(failed).rejects.toMatchObject({
          code: "context_length_exceeded",
          message: expect.stringMatching(/length is 1024 tokens, and the prompt has 20\d\d/),
          error: { n_ctx: 1024, n_prompt_tokens: expect.any(Number) },
        });
      }
    });

    it("leaves a stream in its midst", async () => {
      const body = { ...greedy, messages, ignore_eos: true, max_completion_tokens: 900, stream: true };
      const stream = await client().chat.completions.create(body as OpenAI.ChatCompletionCreateParamsStreaming);
      let chunks = 0;
      for await (const _ of stream) if (++chunks === 3) break;
      expect(stream.controller.signal.aborted).toBe(true);
    });

    it("was sent nothing that OpenAI would not send", () => {
      expect(checked.count()).toBeGreaterThan(100);
    });
  });
}
