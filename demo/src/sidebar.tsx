import type { Conversation } from "./conversation.ts";
import { openConversation } from "./conversations.ts";
import { day } from "./format.ts";
import { Icon, Mark } from "./icons.tsx";
import { usePage } from "./page.ts";

const isMac = /mac|iphone|ipad/i.test(navigator.userAgent);

export function Sidebar({ onChoose }: { onChoose?: () => void }) {
  const conversations = usePage(({ conversations }) => conversations);
  const currentId = usePage(({ currentId }) => currentId);
  const runningId = usePage(({ running }) => running?.conversationId);

  const choose = (id: string | undefined) => {
    openConversation(id);
    onChoose?.();
    if (!id) document.querySelector<HTMLTextAreaElement>("#composer")?.focus();
  };

  return (
    <nav class="sidebar" aria-label="Conversations">
      <div class="wordmark">
        <Mark isOpen={runningId !== undefined} />
        <span>Sluice</span>
      </div>
      <button type="button" class="new-chat" onClick={() => choose(undefined)}>
        <Icon name="plus" />
        <span>New chat</span>
        <kbd>{isMac ? "⌘K" : "Ctrl K"}</kbd>
      </button>
      <div class="conversations">
        {byDay(conversations).map(([name, list]) => (
          <section key={name} aria-label={name}>
            <h3>{name}</h3>
            <ul>
              {list.map(({ id, title }) => (
                <li key={id}>
                  <button type="button" aria-current={id === currentId ? "page" : undefined} onClick={() => choose(id)}>
                    <span class="title">{title || "New chat"}</span>
                    {id === runningId && <span class="writing" role="img" aria-label="Being answered" />}
                  </button>
                </li>
              ))}
            </ul>
          </section>
        ))}
        {conversations.length === 0 && <p class="hint">Conversations stay in this browser, on this device.</p>}
      </div>
    </nav>
  );
}

function byDay(conversations: readonly Conversation[]): [string, Conversation[]][] {
  const days = new Map<string, Conversation[]>();
  for (const conversation of conversations) {
    const name = day(conversation.updatedAt);
    days.set(name, [...(days.get(name) ?? []), conversation]);
  }
  return [...days];
}
