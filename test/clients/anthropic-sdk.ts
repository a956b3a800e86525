import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, it } from "vitest";
import { answer, capital, KEY, question, weather, weatherThere, weatherTools } from "./asked.ts";

/** Anthropic's own client. */
export function anthropicSdk(url: () => string): void {
  const client = (apiKey = KEY) => new Anthropic({ baseURL: url(), apiKey, maxRetries: 0 });
  const greedy = { model: "sprout", max_tokens: 60, temperature: 0 };
  const tools = weatherTools().map(({ function: { name, description, parameters } }) => ({
    name,
    description,
    input_schema: parameters as Anthropic.Tool.InputSchema,
  }));

  describe("the Anthropic SDK", () => {
    it("chats, and streams the same", async () => {
      const whole = await client().messages.create({ ...greedy, messages: [question] });
      expect(whole.content).toMatchObject([{ type: "text", text: capital }]);
      const stream = client().messages.stream({ ...greedy, messages: [question] });
      expect(await stream.finalText()).toBe(capital);
    });

    it("goes round with tools, streamed", async () => {
      const first = await client()
        .messages.stream({ ...greedy, messages: [weather], tools })
        .finalMessage();
      const use = first.content.find((block) => block.type === "tool_use")!;
      expect([first.stop_reason, use.name, use.input]).toEqual(["tool_use", "get_weather", { city: "Lisbon" }]);
      const result = { type: "tool_result", tool_use_id: use.id, content: weatherThere } as const;
      const last = await client().messages.create({
        ...greedy,
        tools,
        messages: [weather, { role: "assistant", content: first.content }, { role: "user", content: [result] }],
      });
      expect(JSON.stringify(last.content)).toContain(answer);
    });

    it("counts tokens, and meets errors", async () => {
      const { input_tokens } = await client().messages.countTokens({ model: "sprout", messages: [question] });
      expect(input_tokens).toBeGreaterThan(5);
      const refused = client("wrong").messages.create({ ...greedy, messages: [question] });
      await expect(refused).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    });
  });
}
