import { describe, expect, it } from "vitest";
import { reply } from "../../src/api/reply.ts";
import { resolveSampling } from "../../src/api/sampling.ts";
import type { ChatParams, GenerationEvent } from "../../src/api/types.ts";
import { chatPlan } from "../../src/chat/chat-plan.ts";
import type { EngineEvent, EngineRequest } from "../../src/engine/engine.ts";
import { tools } from "../chat/tools.ts";
import { openTokenizer, SPROUT } from "../tokenizer/tokenizers.ts";

const tokenizer = openTokenizer(SPROUT);
const END = tokenizer.tokenId("<|im_end|>")!;
const PROMPT = tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n");

/** An engine that writes, one after the other, what it is given for each of its requests. */
class ScriptedEngine {
  readonly requests: EngineRequest[] = [];
  readonly #script: readonly string[];

  constructor(script: readonly string[]) {
    this.#script = script;
  }

  async *generate(request: EngineRequest): AsyncGenerator<EngineEvent, void, void> {
    const script = this.#script[this.requests.length];
    this.requests.push(request);
    const { prompt, reply = [], sampling } = request;
    yield { kind: "prefill", done: 0, total: prompt.length, cached: 0 };
    let drawn = reply.length;
    for (const token of [...tokenizer.encode(script), END]) {
      const isLast = ++drawn === sampling.maxTokens || sampling.stopIds.includes(token);
      yield { kind: "token", sampled: { token, isLast, isFinite: true, slot: 0, position: 0 } };
      if (isLast) return;
    }
  }

  /** What was written of the reply when the last request came. */
  get given(): string {
    return tokenizer.decode(this.requests.at(-1)!.reply!);
  }
}

async function run(
  script: readonly string[],
  params: ChatParams,
  { template = "", turn = "<think>\n", maxContext = 4096 } = {},
) {
  const engine = new ScriptedEngine(script);
  const sampling = resolveSampling(params, { params: {}, stopIds: [END] }, 8218);
  const plan = chatPlan(params, template, turn);
  const request = { prompt: PROMPT, params, sampling, plan, maxContext, startMs: 0 };
  const events: GenerationEvent[] = [];
  for await (const event of reply(engine, tokenizer, request)) events.push(event);
  const finish = events.at(-1)!;
  if (finish.kind !== "finish") throw new Error("no finish");
  const parts = events.filter(
    (event) => event.kind === "text" || event.kind === "reasoning" || event.kind === "toolCall",
  );
  expect(parts.flatMap(({ tokenIds }) => tokenIds)).toEqual(finish.tokenIds);
  return { engine, events, finish, calls: finish.toolCalls?.map((call) => call.function) };
}

describe("thoughts", () => {
  it("are told from the answer, and counted", async () => {
    const { finish, events } = await run(["Hm. Yes.\n</think>\n\nFour."], {});
    expect(finish).toMatchObject({ reason: "stop", reasoning: "Hm. Yes.", text: "Four." });
    expect(finish.usage.reasoningTokens).toBe(tokenizer.encode("Hm. Yes.\n</think>").length);
    expect(finish.usage.completionTokens).toBe(finish.tokenIds.length + 1);
    expect(events.filter(({ kind }) => kind === "reasoning").length).toBeGreaterThan(2);
  });

  it("are closed when their budget is spent", async () => {
    const { engine, finish } = await run(["One two three four five six seven", "Four."], { thinkingBudget: 3 });
    expect(engine.requests).toHaveLength(2);
    expect(engine.given).toBe("One two three\n</think>\n\n");
    expect(finish).toMatchObject({ reason: "stop", reasoning: "One two three", text: "Four." });
    expect(finish.usage.reasoningTokens).toBeLessThanOrEqual(5);
  });

  it("that end within their budget are left alone", async () => {
    const whole = "One.\n</think>\n\nFour five six seven eight nine.";
    const rest = tokenizer.decode(tokenizer.encode(whole).slice(6));
    const { engine, finish } = await run([whole, rest], { thinkingBudget: 6 });
    // The engine was to stop when the budget is spent, and goes on as if it had not.
    expect(engine.requests.map(({ sampling }) => sampling.maxTokens)).toEqual([6, 4096 - PROMPT.length]);
    expect(engine.requests[1].reply).toEqual(tokenizer.encode(whole).slice(0, 6));
    expect(finish).toMatchObject({ reasoning: "One.", text: "Four five six seven eight nine." });
  });

  it.each<ChatParams>([{ thinkingBudget: 0 }, { thinking: false }])("need not be, by %o", async (params) => {
    const { engine, finish } = await run(["Four."], params);
    expect(engine.given).toBe("\n</think>\n\n");
    expect(finish).toMatchObject({ reason: "stop", text: "Four." });
    expect(finish.reasoning).toBeUndefined();
  });

  it("are closed when they have become a loop", async () => {
    const { engine, finish } = await run([`So. ${"I wonder. ".repeat(300)}`, "Four."], {});
    expect(engine.requests).toHaveLength(2);
    expect(finish.text).toBe("Four.");
    expect(finish.reasoning!.length).toBeLessThan(1500);
  });

  it("count for the length of the reply, however it is put together", async () => {
    const { engine, finish } = await run(["One two three four five", "Four five six seven."], {
      thinkingBudget: 3,
      maxTokens: 9,
    });
    expect(finish.reason).toBe("length");
    expect(finish.tokenIds).toHaveLength(9);
    expect(engine.requests.map(({ sampling }) => sampling.maxTokens)).toEqual([3, 9]);
  });

  it("end the reply where the context has no room to close them", async () => {
    const { engine, finish } = await run(
      ["One two three four", "no"],
      { thinkingBudget: 3 },
      { maxContext: PROMPT.length + 4 },
    );
    expect(engine.requests).toHaveLength(1);
    expect(finish).toMatchObject({ reason: "length", reasoning: "One two three", text: "" });
  });
});

describe("calls", () => {
  const called = '{"city": "Rome"}';
  const answer = { turn: "" };

  it("end a reply with tool_calls", async () => {
    const { finish, calls } = await run(
      [`Well.\n<tool_call>\n{"name": "f", "arguments": ${called}}\n</tool_call>`],
      { tools },
      answer,
    );
    expect(finish).toMatchObject({ reason: "tool_calls", text: "Well." });
    expect(calls).toEqual([{ name: "f", arguments: called }]);
    expect(finish.toolCalls![0].id).toMatch(/^call_\w{24}$/);
  });

  it("that are cut are content of a reply that was too long", async () => {
    const { finish, calls } = await run(
      [`<tool_call>\n{"name": "f", "arguments": ${called}}`],
      { tools, maxTokens: 8 },
      answer,
    );
    expect(finish.reason).toBe("length");
    expect(calls).toBeUndefined();
    expect(finish.text).toBe(tokenizer.decode(finish.tokenIds));
  });

  it.each(["none", undefined] as const)("are text with tool choice none, or without tools", async (toolChoice) => {
    const text = `<tool_call>\n{"name": "f", "arguments": ${called}}\n</tool_call>`;
    const { finish } = await run([text], toolChoice ? { tools, toolChoice } : {}, answer);
    expect(finish).toMatchObject({ reason: "stop", text });
  });

  it("are one where parallel ones are not wanted", async () => {
    const one = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>';
    const { finish, calls } = await run([`${one}\n${one}`], { tools, parallelToolCalls: false }, answer);
    expect(finish.reason).toBe("tool_calls");
    expect(calls).toHaveLength(1);
  });

  it("cannot be required of tools that there are not", () => {
    expect(() => chatPlan({ toolChoice: "required" }, "", "")).toThrow(/no tools/);
    const toolChoice = { type: "function", function: { name: "h" } } as const;
    expect(() => chatPlan({ tools, toolChoice }, "", "")).toThrow(/no tool "h"; there are f, g/);
  });
});
