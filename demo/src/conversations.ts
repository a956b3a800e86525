import * as archive from "./archive.ts";
import { type Conversation, changeReply, isRunning } from "./conversation.ts";
import { page, showToast, stopReply } from "./page.ts";

export async function openArchive(): Promise<void> {
  try {
    page.set({ conversations: newestFirst(await archive.readAll()) });
    await markInterrupted();
    archive.onChangeElsewhere(adopt);
  } catch {
    showToast({ text: "This browser does not let the page keep conversations. They last until you close it." });
  }
}

export function addConversation(conversation: Conversation): Conversation {
  page.set(({ conversations }) => ({ conversations: [conversation, ...conversations] }));
  return conversation;
}

/** Changes a conversation on the page and, unless `keep` is false, in the archive. */
export function changeConversation(
  id: string,
  edit: (conversation: Conversation) => Conversation,
  options = { keep: true },
): void {
  const ours = page.state.conversations.find((c) => c.id === id);
  if (!ours) return;
  page.set(({ conversations }) => ({
    conversations: newestFirst(conversations.map((c) => (c === ours ? edit(c) : c))),
  }));
  if (options.keep) keep(ours, edit);
}

export function openConversation(id: string | undefined): void {
  page.set({ currentId: id, editingId: undefined });
}

export function deleteConversation(conversation: Conversation): void {
  if (page.state.running?.conversationId === conversation.id) stopReply();
  page.set(({ conversations, currentId }) => ({
    conversations: conversations.filter(({ id }) => id !== conversation.id),
    currentId: currentId === conversation.id ? undefined : currentId,
  }));
  void archive.remove(conversation.id).catch(() => {});
  showToast({
    text: `Deleted “${conversation.title}”.`,
    action: {
      label: "Undo",
      run: () => {
        addConversation(conversation);
        keep(conversation, (c) => c);
        page.set({ currentId: conversation.id, toast: undefined });
      },
    },
  });
}

/** Takes over what another tab has stored; a reply that is being written here stays as it is here. */
async function adopt(id: string): Promise<void> {
  const stored = await readSettled(id).catch(() => undefined);
  const { running, conversations } = page.state;
  const mine = conversations.find((c) => c.id === id)?.messages.find((m) => m.id === running?.messageId);
  if (mine && !stored?.messages.some((m) => m.id === mine.id)) stopReply();
  const merged = stored && { ...stored, messages: stored.messages.map((m) => (m.id === mine?.id ? mine : m)) };
  const others = conversations.filter((c) => c.id !== id);
  page.set({ conversations: merged ? newestFirst([merged, ...others]) : others });
}

/** Replies that were being written when their page went away. */
async function markInterrupted(): Promise<void> {
  const isWritten = await archive.findWriters();
  for (const conversation of page.state.conversations) {
    for (const { id } of conversation.messages.filter((m) => isRunning(m) && !isWritten(m.id))) {
      changeConversation(conversation.id, (c) => changeReply(c, id, { ending: "interrupted" }));
    }
  }
}

/** Changes of this tab on their way to the archive, and how many there have been. */
const underWay = new Set<Promise<void>>();
let changes = 0;

/** A conversation as stored, with all that this tab has changed: what is read before a change arrives would undo it here. */
async function readSettled(id: string): Promise<Conversation | undefined> {
  for (;;) {
    await Promise.all(underWay);
    const before = changes;
    const stored = await archive.read(id);
    if (changes === before) return stored;
  }
}

function keep(ours: Conversation, edit: (stored: Conversation) => Conversation): void {
  changes++;
  const change = archive
    .change(ours, edit)
    .then(() => {})
    .catch(() => {
      showToast({ text: "The conversation could not be stored. Export it before you close the page." });
    })
    .finally(() => underWay.delete(change));
  underWay.add(change);
}

const newestFirst = (conversations: readonly Conversation[]) =>
  [...conversations].sort((a, b) => b.updatedAt - a.updatedAt);
