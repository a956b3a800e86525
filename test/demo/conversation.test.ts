import { describe, expect, it } from "vitest";
import {
  append,
  changeReply,
  lastUsage,
  newConversation,
  promptFor,
  type ReplyStart,
  replaceFrom,
  runningReply,
  titleFrom,
  turn,
} from "../../demo/src/conversation.ts";
import { toMarkdown } from "../../demo/src/export.ts";

const start: ReplyStart = { model: "Sprout", sampling: { temperature: 0 } };

function oneTurn(question: string, answer: string) {
  const added = turn(question, start);
  return changeReply(append(newConversation("Be brief."), added), added[1].id, { text: answer, ending: "stop" });
}

describe("a conversation", () => {
  it("is titled by its first question and keeps a title that was given", () => {
    const conversation = oneTurn("What is the capital of Italy?", "Rome.");
    expect(conversation.title).toBe("What is the capital of Italy?");
    expect(append({ ...conversation, title: "Capitals" }, turn("And of France?", start)).title).toBe("Capitals");
  });

  it("gives the model what stands before a reply, the system prompt first", () => {
    const added = turn("And of France?", start);
    const conversation = append(oneTurn("What is the capital of Italy?", "Rome."), added);
    expect(promptFor(conversation, added[1].id)).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "What is the capital of Italy?" },
      { role: "assistant", content: "Rome." },
      { role: "user", content: "And of France?" },
    ]);
  });

  it("leaves replies without a word out of the prompt", () => {
    const added = turn("Again?", start);
    const conversation = append(oneTurn("Hello?", ""), added);
    expect(promptFor(conversation, added[1].id).map(({ content }) => content)).toEqual([
      "Be brief.",
      "Hello?",
      "Again?",
    ]);
  });

  it("gives the model the calls of a reply with their results, also to go on with it", () => {
    const added = turn("What is 6 * 7?", start);
    const [question, { id }] = added;
    const call = { id: "1", name: "calculate", arguments: '{"expression": "6 * 7"}', result: '{"result":42}' };
    const thoughts = { text: "A sum.", ms: 5 };
    const rounds = [{ thoughts, text: "Let me see.", calls: [call] }];
    const called = changeReply(append(newConversation(""), added), id, { rounds });
    const soFar = [
      { role: "user", content: question.text },
      {
        role: "assistant",
        content: "Let me see.",
        reasoning_content: "A sum.",
        tool_calls: [{ id: "1", type: "function", function: { name: "calculate", arguments: call.arguments } }],
      },
      { role: "tool", tool_call_id: "1", content: '{"result":42}' },
    ];
    expect(promptFor(called, id)).toEqual(soFar);

    const next = turn("Thanks.", start);
    const answered = append(changeReply(called, id, { text: "It is 42.", thoughts }), next);
    expect(promptFor(answered, next[1].id)).toEqual([
      ...soFar,
      { role: "assistant", content: "It is 42.", reasoning_content: "A sum." },
      { role: "user", content: "Thanks." },
    ]);
  });

  it("drops what followed a message that is replaced, also when it is applied to a longer copy", () => {
    const first = oneTurn("One?", "1");
    const longer = append(first, turn("Two?", start));
    const added = turn("Zero?", start);
    const edit = (c: typeof first) => replaceFrom(c, first.messages[0].id, added);
    expect(edit(longer).messages).toEqual(added);
    expect(edit(first).messages).toEqual(added);
  });

  it("writes a reply anew in its place", () => {
    const first = oneTurn("One?", "1");
    const again = runningReply(start);
    expect(replaceFrom(first, first.messages[1].id, [again]).messages).toEqual([first.messages[0], again]);
  });

  it("remembers what the last finished reply has cost, past one that failed", () => {
    const usage = { promptTokens: 9, completionTokens: 2 } as never;
    const first = oneTurn("One?", "1");
    const measured = changeReply(first, first.messages[1].id, { usage });
    const added = turn("Two?", start);
    const failed = changeReply(append(measured, added), added[1].id, { ending: "error" });
    expect(lastUsage(failed)).toBe(usage);
  });

  it("exports as Markdown", () => {
    expect(toMarkdown(oneTurn("Capital of Italy?", "Rome."))).toBe(
      "# Capital of Italy?\n\n> Be brief.\n\n## You\n\nCapital of Italy?\n\n## Sprout\n\nRome.\n",
    );
  });
});

it("cuts a title at a word's end", () => {
  expect(titleFrom("  Tell me a long story about a fox and a crow and some cheese in a tree\nplease")).toBe(
    "Tell me a long story about a fox and a crow and…",
  );
});
