import { describe, expect, test } from "vitest";
import type { ChatMessage, Tool } from "../../src/api/types.ts";
import { CheckpointError, InvalidRequestError } from "../../src/errors.ts";
import { ChatTemplate } from "../../src/tokenizer/chat-template.ts";
import { tokenCounts } from "../../src/tokenizer/token-count.ts";
import { openTokenizer, QWEN3, readJson, SPROUT, sproutReference } from "./tokenizers.ts";

const templateOf = (folder: string) =>
  new ChatTemplate(readJson(`${folder}/tokenizer_config.json`).chat_template, folder);
const user = (content: ChatMessage["content"]): ChatMessage => ({ role: "user", content });
const calling = (args: string | Record<string, unknown>, content = ""): ChatMessage => ({
  role: "assistant",
  content,
  tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: args } }],
});

describe("Sprout's template", () => {
  const template = templateOf(SPROUT);
  const tokenizer = openTokenizer(SPROUT);

  test.each(sproutReference.cases.filter(({ messages }) => messages))("$name", ({ messages, tools, inputIds }) => {
    const prompt = template.render(messages!, { tools });
    expect(tokenizer.encode(prompt)).toEqual(inputIds);
    expect(tokenizer.decode(inputIds)).toBe(prompt);

    const boundary = template.boundary(messages!, { tools });
    expect(`${boundary}<|im_start|>assistant\n`).toBe(prompt);
    expect(template.render(messages!, { tools, addGenerationPrompt: false })).toBe(boundary);
  });

  test("boundaries: after tools and system messages, before the last message, before the reply", () => {
    const system: ChatMessage = { role: "system", content: "Be brief." };
    const tools: Tool[] = [{ type: "function", function: { name: "look", parameters: {} } }];
    const chat = [system, user("hi"), { role: "assistant", content: "yo" } as const, user("xylophone?")];
    const prompt = template.render(chat, { tools });
    const boundaries = template.boundaries(chat, { tools });
    expect(boundaries.every((text) => prompt.startsWith(text))).toBe(true);
    expect(boundaries.map((text) => prompt.slice(text.length).split("<|im_end|>")[0])).toEqual([
      "hi",
      "xylophone?",
      "<|im_start|>assistant\n",
    ]);
    const ids = tokenizer.encode(prompt);
    for (const [i, count] of tokenCounts(tokenizer, prompt, ids, boundaries).entries()) {
      expect(tokenizer.decode(ids.slice(0, count))).toBe(boundaries[i]);
    }
    expect(template.boundaries([user("hi")])).toHaveLength(2);
  });

  test("joins content parts, and takes developer for system", () => {
    const parts = [
      { type: "text", text: "a" },
      { type: "text", text: "b\n" },
    ] as const;
    expect(template.render([{ role: "developer", content: "S" }, user(parts)])).toBe(
      "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nab\n<|im_end|>\n<|im_start|>assistant\n",
    );
  });

  test("writes a call's arguments again as the model wrote them", () => {
    const written =
      '{"a": 1.0, "id": 12345678901234567890, "e": 1e-05, "s": "1.0 \\" é", "n": null, "l": [true, -0.5, {}]}';
    expect(template.render([user("go"), calling(written)])).toContain(`"arguments": ${written}}\n</tool_call>`);
    expect(template.render([user("go"), calling({ a: 1.5, b: [1] })])).toContain('"arguments": {"a": 1.5, "b": [1]}}');
    expect(template.render([user("go"), calling('{"a":1,\n"b":[2]}')])).toContain('"arguments": {"a": 1, "b": [2]}}');
    expect(template.render([user("go"), calling("")])).toContain('"arguments": {}}');
  });
});

describe("Qwen3's template", () => {
  const template = templateOf(QWEN3);
  const chat: ChatMessage[] = [
    user("hi"),
    { role: "assistant", content: "<think>\nhm\n</think>\n\nyo" },
    user("look"),
    { ...calling('{"x": 1.5}', "ok"), reasoning_content: "\nwhy\n" },
    { role: "tool", content: "r1", tool_call_id: "c1" },
    { role: "tool", content: "r2" },
  ];

  test("keeps thoughts after the last question only, and merges tool results into one turn", () => {
    expect(template.render(chat, { variables: { enable_thinking: false } })).toBe(
      "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n<|im_start|>user\nlook<|im_end|>\n" +
        '<|im_start|>assistant\n<think>\nwhy\n</think>\n\nok\n<tool_call>\n{"name": "look", "arguments": {"x": 1.5}}\n</tool_call>' +
        "<|im_end|>\n<|im_start|>user\n<tool_response>\nr1\n</tool_response>\n<tool_response>\nr2\n</tool_response><|im_end|>\n" +
        "<|im_start|>assistant\n<think>\n\n</think>\n\n",
    );
  });

  test("ends a turn that thinks with the bare opening", () => {
    const prompt = template.render(chat);
    expect(prompt.endsWith("<|im_end|>\n<|im_start|>assistant\n")).toBe(true);
    expect(template.boundary(chat)).toBe(prompt.slice(0, -"<|im_start|>assistant\n".length));
  });
});

/** What the templates of Qwen3.5 do, in few words of our own. */
const xmlTemplate = `
{%- macro text(content) %}
    {%- if content is string %}{{- content }}
    {%- elif content is iterable and content is not mapping %}
        {%- for part in content %}{{- part.text }}{%- endfor %}
    {%- elif content is none or content is undefined %}{{- '' }}
    {%- else %}{{- raise_exception('Content of this kind is unknown.') }}
    {%- endif %}
{%- endmacro %}
{%- if not messages %}{{- raise_exception('A chat needs a message.') }}{%- endif %}
{%- if tools %}
    {{- '<|im_start|>system\\n[tools]' }}
    {%- for tool in tools %}{{- '\\n' ~ tool | tojson }}{%- endfor %}
    {%- if messages[0].role == 'system' %}{{- '\\n\\n' + text(messages[0].content) | trim }}{%- endif %}
    {{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + text(messages[0].content) | trim + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=none) %}
{%- for message in messages[::-1] %}
    {%- if ns.last is none and message.role == 'user' %}{%- set ns.last = messages | length - 1 - loop.index0 %}{%- endif %}
{%- endfor %}
{%- if ns.last is none %}{{- raise_exception('Nobody has asked anything.') }}{%- endif %}
{%- for message in messages %}
    {%- set content = text(message.content) | trim %}
    {%- if message.role == 'system' %}
        {%- if not loop.first %}{{- raise_exception('A system message must be the first.') }}{%- endif %}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.index0 > ns.last %}
            {{- '<think>\\n' + (message.reasoning_content | default('', true)).strip('\\n') + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- content }}
        {%- for call in message.tool_calls %}
            {{- ('\\n\\n' if content else '') if loop.first else '\\n' }}
            {{- '<tool_call>\\n<function=' + call.function.name + '>\\n' }}
            {%- for name, value in call.function.arguments | items %}
                {{- '<parameter=' + name + '>\\n' }}
                {{- value | tojson if value is mapping or (value is sequence and value is not string) else value | string }}
                {{- '\\n</parameter>\\n' }}
            {%- endfor %}
            {{- '</function>\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'user' %}
        {{- '<|im_start|>user\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user' if loop.previtem is undefined or loop.previtem.role != 'tool' else '' }}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {{- '<|im_end|>\\n' if loop.last or loop.nextitem.role != 'tool' else '' }}
    {%- else %}{{- raise_exception('Unknown role ' ~ message.role) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n<think>\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
`;

describe("a template in the manner of Qwen3.5", () => {
  const template = new ChatTemplate(xmlTemplate, "test");
  const tools: Tool[] = [{ type: "function", function: { name: "look", description: "Überall <b>" } }];

  test("trims contents, and puts tools before the system's text", () => {
    expect(template.render([{ role: "developer", content: " S \n" }, user("\n hi ")], { tools })).toBe(
      '<|im_start|>system\n[tools]\n{"type": "function", "function": {"name": "look", "description": "Überall <b>"}}\n\n' +
        "S<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<think>\n",
    );
  });

  test("writes arguments one by one, as Python would", () => {
    const args =
      '{"s": "a\\n<b>", "t": true, "n": null, "f": 1.0, "i": 10000000000000000001, "l": ["é", false], "items": {"k": 1}}';
    const rendered = template.render([user("go"), calling(args, "ok "), { role: "tool", content: "r" }]);
    expect(rendered).toBe(
      "<|im_start|>user\ngo<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nok\n\n<tool_call>\n<function=look>\n" +
        "<parameter=s>\na\n<b>\n</parameter>\n<parameter=t>\nTrue\n</parameter>\n<parameter=n>\nNone\n</parameter>\n" +
        "<parameter=f>\n1.0\n</parameter>\n<parameter=i>\n10000000000000000001\n</parameter>\n" +
        '<parameter=l>\n["é", false]\n</parameter>\n<parameter=items>\n{"k": 1}\n</parameter>\n</function>\n</tool_call><|im_end|>\n' +
        "<|im_start|>user\n<tool_response>\nr\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n",
    );
  });

  test("keeps thoughts after the last question, and closes them when thinking is off", () => {
    const chat: ChatMessage[] = [
      user("a"),
      { role: "assistant", content: "b", reasoning_content: "gone" },
      user("c"),
      { role: "assistant", content: null, reasoning_content: "\nkept\n" },
    ];
    const variables = { enable_thinking: false };
    const boundary = template.boundary(chat, { variables });
    expect(boundary).toBe(
      "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n" +
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n<think>\nkept\n</think>\n\n<|im_end|>\n",
    );
    expect(template.render(chat, { variables })).toBe(`${boundary}<|im_start|>assistant\n<think>\n\n</think>\n\n`);
  });

  test.each([
    [
      "system not first",
      [user("a"), { role: "system", content: "S" }],
      "messages: A system message must be the first.",
    ],
    ["no question", [{ role: "system", content: "S" }], "messages: Nobody has asked anything."],
  ] as [string, ChatMessage[], string][])("refuses %s in the template's words", (_, messages, message) => {
    expect(() => template.render(messages)).toThrow(new InvalidRequestError("messages", message.slice(10)));
  });
});

describe("messages that no template can take", () => {
  const template = new ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", "test");
  const image = [{ type: "image_url", image_url: { url: "x" } }] as unknown as ChatMessage["content"];
  test.each([
    ["none at all", [], "messages", /at least one/],
    [
      "arguments that are no JSON",
      [user("a"), calling('{"x": ')],
      "messages[1].tool_calls[0].function.arguments",
      /no JSON/,
    ],
    ["arguments that are no object", [calling("[1]")], "messages[0].tool_calls[0].function.arguments", /JSON object/],
    ["arguments that are a number", [calling("1.5")], "messages[0].tool_calls[0].function.arguments", /JSON object/],
    ["a call of nothing", [{ ...calling(""), tool_calls: [{}] }], "messages[0].tool_calls[0].function", /no name/],
    ["an image", [user("a"), user(image)], "messages[1].content[0]", /"image_url".*text only/],
    ["an unknown role", [{ role: "robot", content: "a" }], "messages[0].role", /"robot"/],
  ] as unknown as [string, ChatMessage[], string, RegExp][])("%s", (_, messages, field, message) => {
    const render = () => template.render(messages);
    expect(render).toThrow(InvalidRequestError);
    expect(render).toThrow(expect.objectContaining({ field }));
    expect(render).toThrow(message);
  });
});

describe("a template that is no use", () => {
  test("missing: says so when a chat is asked for", () => {
    expect(() => new ChatTemplate(undefined, "tiny").render([user("a")])).toThrow(
      /tiny has no chat template\. Use generate/,
    );
  });

  test("malformed: the checkpoint is at fault", () => {
    expect(() => new ChatTemplate("{% if %}", "broken")).toThrow(CheckpointError);
    expect(() => new ChatTemplate("{% if %}", "broken")).toThrow(/^broken: the chat template cannot be parsed/);
  });

  test("failing as it runs: the request fails with the reason", () => {
    const template = new ChatTemplate("{{ messages[0].content + none }}", "odd");
    expect(() => template.render([user("a")])).toThrow(InvalidRequestError);
    expect(() => template.render([user("a")])).toThrow(/cannot render them: .*null/);
  });

  test("a boundary is a prefix even where the template rewrites the messages", () => {
    const template = new ChatTemplate(
      "{% for m in messages %}<{{ m.content }}{{ ' ' if add_generation_prompt else '>' }}{% endfor %}",
      "odd",
    );
    expect(template.boundary([user("a"), user("b")])).toBe("<a");
    expect(template.boundaries([user("a"), user("b")])).toEqual(["<", "<a"]);
  });
});
