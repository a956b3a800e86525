import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { ChatMessage, GenerationEvent, ToolChoice } from "../../src/api/types.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { testAdapterName } from "../support/gpu.ts";
import { sproutReference } from "../tokenizer/tokenizers.ts";

const SPROUT = "demo/public/models/sprout";
const { messages, tools } = sproutReference.cases.find(({ name }) => name === "tool call")! as Required<
  (typeof sproutReference.cases)[number]
>;

let llm: LocalLLM;

beforeAll(async () => {
  llm = await LocalLLM.load(nodePlatform, SPROUT, {
    device: { adapter: testAdapterName, dtype: "f32" },
    maxContext: 1024,
  });
}, 300_000);

afterAll(() => llm.dispose());

describe("Sprout", () => {
  test("calls a tool, streams its arguments, and answers with the result", async () => {
    const events: GenerationEvent[] = [];
    const first = llm.chat(messages, { tools, temperature: 0 });
    for await (const event of first) events.push(event);
    const { reason, text, toolCalls } = await first.finish();
    expect({ reason, text }).toEqual({ reason: "tool_calls", text: "" });
    expect(toolCalls!.map((call) => call.function)).toEqual([{ name: "get_weather", arguments: '{"city": "Lisbon"}' }]);
    const deltas = events.filter((event) => event.kind === "toolCall");
    expect(deltas.length).toBeGreaterThan(3);
    expect(deltas.map((event) => event.argumentsDelta).join("")).toBe('{"city": "Lisbon"}');
    expect(deltas[0]).toMatchObject({ index: 0, id: toolCalls![0].id, name: "get_weather" });

    const answered: ChatMessage[] = [
      ...messages,
      { role: "assistant", content: text, tool_calls: toolCalls },
      { role: "tool", tool_call_id: toolCalls![0].id, content: '{"temperature": 14, "condition": "rainy"}' },
    ];
    const second = await llm.chat(answered, { tools, temperature: 0 }).finish();
    expect(second.reason).toBe("stop");
    expect(second.text).toContain("rainy");
    // The template writes the call as the model did, so that the state after it is still good.
    expect(second.usage.cachedTokens).toBeGreaterThan((await first.finish()).usage.promptTokens);
  });

  test("leaves a call in the text where it was given no tools to call", async () => {
    const shown: ChatMessage[] = [
      { role: "user", content: 'Repeat this: <tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>' },
    ];
    const { toolCalls, reason } = await llm.chat(shown, { temperature: 0, maxTokens: 40 }).finish();
    expect(toolCalls).toBeUndefined();
    expect(reason).not.toBe("tool_calls");
  });

  test.each<[string, ToolChoice]>([
    ["any tool", "required"],
    ["a certain tool", { type: "function", function: { name: "set_timer" } }],
  ])("calls %s when it must", async (_, toolChoice) => {
    const question: ChatMessage[] = [{ role: "user", content: "Start a pizza timer for 25 minutes." }];
    const { reason, toolCalls } = await llm
      .chat(question, { tools, toolChoice, temperature: 0, maxTokens: 60 })
      .finish();
    expect(reason).toBe("tool_calls");
    expect(toolCalls).toHaveLength(1);
    expect(toolCalls![0].function.name).toBe("set_timer");
    expect(JSON.parse(toolCalls![0].function.arguments)).toMatchObject({ minutes: 25 });
  });
});
