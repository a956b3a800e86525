import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { append, type Conversation, newConversation, turn } from "../../demo/src/conversation.ts";

/*
 * Two tabs and one archive. What this tab writes is held up on its way, so that another tab's change is heard in between.
 */

/** What is stored, by id. */
const stored = new Map<string, Conversation>();
/** Changes on their way; each is let through by a call. */
const onTheirWay: (() => void)[] = [];
let heard: (id: string) => void;
const read = vi.fn(async (id: string) => stored.get(id));

vi.mock("../../demo/src/archive.ts", () => ({
  readAll: async () => [...stored.values()],
  findWriters: async () => () => false,
  read: (id: string) => read(id),
  change: (ours: Conversation, edit: (stored: Conversation) => Conversation) =>
    new Promise<void>((resolve) => {
      onTheirWay.push(() => {
        stored.set(ours.id, edit(stored.get(ours.id) ?? ours));
        resolve();
      });
    }),
  remove: async (id: string) => void stored.delete(id),
  onChangeElsewhere: (listener: (id: string) => void) => {
    heard = listener;
  },
}));

const start = { model: "Sprout", sampling: {} };
const say = (text: string) => (conversation: Conversation) => append(conversation, turn(text, start).slice(0, 1));

let conversations: typeof import("../../demo/src/conversations.ts");
let page: typeof import("../../demo/src/page.ts")["page"];
let id: string;

beforeEach(async () => {
  const nothing = { getItem: () => null, setItem() {} };
  vi.stubGlobal("localStorage", nothing);
  vi.stubGlobal("sessionStorage", nothing);
  conversations = await import("../../demo/src/conversations.ts");
  ({ page } = await import("../../demo/src/page.ts"));
  const conversation = say("First")(newConversation(""));
  id = conversation.id;
  stored.set(id, conversation);
  await conversations.openArchive();
});

afterEach(() => {
  stored.clear();
  onTheirWay.length = 0;
  read.mockClear();
  vi.unstubAllGlobals();
  vi.resetModules();
});

const shown = () => page.state.conversations.find((c) => c.id === id)?.messages.map(({ text }) => text);
const letThrough = () => onTheirWay.shift()!();
const settled = () => new Promise((resolve) => setTimeout(resolve));

/** Another tab writes, and tells of it. */
function writeElsewhere(text: string): void {
  stored.set(id, say(text)(stored.get(id)!));
  heard(id);
}

it("shows what another tab wrote", async () => {
  writeElsewhere("Theirs");
  await settled();
  expect(shown()).toEqual(["First", "Theirs"]);
});

it("undoes nothing of its own that is on its way when another tab's change is heard", async () => {
  conversations.changeConversation(id, say("Mine"));
  writeElsewhere("Theirs");
  await settled();
  expect(shown()).toEqual(["First", "Mine"]);
  letThrough();
  await settled();
  expect(shown()).toEqual(["First", "Theirs", "Mine"]);
});

it("reads again where something of its own was written while it was reading", async () => {
  let answer!: () => void;
  read.mockImplementationOnce((id) => {
    const before = stored.get(id);
    return new Promise((resolve) => {
      answer = () => resolve(before);
    });
  });
  writeElsewhere("Theirs");
  await expect.poll(() => read.mock.calls).toHaveLength(1);
  conversations.changeConversation(id, say("Mine"));
  answer();
  await settled();
  expect(shown()).toEqual(["First", "Mine"]);
  letThrough();
  await settled();
  expect(shown()).toEqual(["First", "Theirs", "Mine"]);
});

it("takes away what another tab deleted", async () => {
  stored.delete(id);
  heard(id);
  await settled();
  expect(shown()).toBeUndefined();
});
