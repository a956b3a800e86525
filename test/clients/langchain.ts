import { AIMessageChunk, HumanMessage, type ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { answer, capital, KEY, question, weather, weatherThere } from "./asked.ts";
import { checkedFetch } from "./checked-fetch.ts";

/** LangChain's model for OpenAI. */
export function langchain(url: () => string): void {
  const checked = checkedFetch();
  const sprout = (more: object = {}) =>
    new ChatOpenAI({
      model: "sprout",
      apiKey: KEY,
      temperature: 0,
      maxTokens: 60,
      maxRetries: 0,
      configuration: { baseURL: `${url()}/v1`, fetch: checked.fetch },
      ...more,
    });
  const getWeather = tool(async () => weatherThere, {
    name: "get_weather",
    description: "Get the current weather for a city.",
    schema: z.object({ city: z.string() }),
  });

  describe("LangChain", () => {
    it("chats, and streams the same with its usage", async () => {
      const whole = await sprout().invoke([question]);
      expect(whole.content).toBe(capital);
      let all = new AIMessageChunk("");
      for await (const chunk of await sprout().stream([question])) all = all.concat(chunk);
      expect(all.content).toBe(capital);
      expect(all.usage_metadata!.output_tokens).toBe(whole.usage_metadata!.output_tokens);
    });

    it("goes round with tools", async () => {
      const human = new HumanMessage(weather.content);
      const called = await sprout().bindTools([getWeather]).invoke([human]);
      expect(called.tool_calls).toMatchObject([{ name: "get_weather", args: { city: "Lisbon" } }]);
      const result = (await getWeather.invoke(called.tool_calls![0])) as ToolMessage;
      const last = await sprout().bindTools([getWeather]).invoke([human, called, result]);
      expect(last.content).toContain(answer);
      let all = new AIMessageChunk("");
      for await (const chunk of await sprout().bindTools([getWeather]).stream([human])) all = all.concat(chunk);
      expect([all.tool_calls, all.invalid_tool_calls]).toMatchObject([[{ args: { city: "Lisbon" } }], []]);
    });

    it.each(["jsonSchema", "functionCalling"] as const)("gives structured output by %s", async (method) => {
      const schema = z.object({ city: z.string().max(20), country: z.enum(["France", "Italy"]) });
      const structured = sprout().withStructuredOutput(schema, { name: "place", method });
      const object = await structured.invoke([question]);
      expect(schema.parse(object)).toEqual(object);
    });

    it("meets errors, and leaves in the midst", async () => {
      await expect(sprout({ apiKey: "wrong" }).invoke([question])).rejects.toMatchObject({ status: 401 });
      await expect(sprout({ model: "gpt-9" }).invoke([question])).rejects.toMatchObject({ status: 404 });
      const abort = new AbortController();
      const stream = await sprout({ maxTokens: 900 }).stream([question], { signal: abort.signal });
      const read = async () => {
        for await (const _ of stream) abort.abort();
      };
      await expect(read()).rejects.toThrow(/abort/i);
    });

    it("was sent nothing that OpenAI would not send", () => {
      expect(checked.count()).toBeGreaterThan(20);
    });
  });
}
