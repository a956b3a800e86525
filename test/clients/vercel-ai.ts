import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { answer, capital, KEY, question, thought, weather, weatherThere } from "./asked.ts";
import { checkedFetch } from "./checked-fetch.ts";

/** Vercel's AI SDK with its provider for servers like OpenAI's. */
export function vercelAi(url: () => string): void {
  const checked = checkedFetch();
  const sprout = (name = "sprout", apiKey = KEY) =>
    createOpenAICompatible({
      name: "sluice",
      baseURL: `${url()}/v1`,
      apiKey,
      fetch: checked.fetch,
      includeUsage: true,
      supportsStructuredOutputs: true,
    }).chatModel(name);
  const greedy = { temperature: 0, maxOutputTokens: 60, maxRetries: 0 };
  const tools = {
    get_weather: tool({
      description: "Get the current weather for a city.",
      inputSchema: z.object({ city: z.string() }),
      execute: async () => weatherThere,
    }),
  };

  describe("the AI SDK", () => {
    it("writes text, whole and streamed, with its usage", async () => {
      const whole = await generateText({ model: sprout(), messages: [question], ...greedy });
      expect(whole.text).toBe(capital);
      const stream = streamText({ model: sprout(), messages: [question], ...greedy });
      expect(await stream.text).toBe(capital);
      expect((await stream.usage).outputTokens).toBe(whole.usage.outputTokens);
      expect(await stream.finishReason).toBe("stop");
    });

    it("goes round with tools, whole and streamed", async () => {
      const ask = { model: sprout(), messages: [weather], tools, stopWhen: stepCountIs(3), ...greedy };
      const whole = await generateText(ask);
      expect(whole.steps[0].toolCalls).toMatchObject([{ toolName: "get_weather", input: { city: "Lisbon" } }]);
      expect(whole.text).toContain(answer);
      const stream = streamText(ask);
      expect(await stream.text).toContain(answer);
    });

    it("makes objects of a schema, whole and streamed", async () => {
      const schema = z.object({ city: z.string().max(20), country: z.enum(["France", "Italy"]) });
      const whole = await generateObject({ model: sprout(), messages: [question], schema, ...greedy });
      expect(schema.parse(whole.object)).toEqual(whole.object);
      const stream = streamObject({ model: sprout(), messages: [question], schema, ...greedy });
      let last: unknown;
      for await (const partial of stream.partialObjectStream) last = partial;
      expect(last).toEqual(whole.object);
    });

    it("reads thoughts, whole and streamed", async () => {
      const sluice = { continue_final_message: true, thinking_token_budget: 3 };
      const ask = { model: sprout(), messages: [question, thought], providerOptions: { sluice }, ...greedy };
      const whole = await generateText(ask);
      expect(whole.reasoningText).toBeTruthy();
      const stream = streamText(ask);
      expect(await stream.reasoningText).toBe(whole.reasoningText);
    });

    it("meets errors, and leaves in the midst", async () => {
      const refused = generateText({ model: sprout("sprout", "wrong"), messages: [question], ...greedy });
      await expect(refused).rejects.toSatisfy((error) => APICallError.isInstance(error) && error.statusCode === 401);
      const absent = generateText({ model: sprout("gpt-9"), messages: [question], ...greedy });
      await expect(absent).rejects.toThrow(/gpt-9.* does not exist/);
      const abort = new AbortController();
      const stream = streamText({ model: sprout(), messages: [question], ...greedy, abortSignal: abort.signal });
      let parts = 0;
      for await (const _ of stream.textStream) if (++parts === 2) abort.abort();
      expect(parts).toBeLessThan(8);
    });

    it("was sent nothing that OpenAI would not send", () => {
      expect(checked.count()).toBeGreaterThan(50);
    });
  });
}
