import { disconnect } from "./companion.ts";
import { openConversation } from "./conversations.ts";
import { Icon } from "./icons.tsx";
import { reloadModel } from "./model.ts";
import { currentConversation, page } from "./page.ts";
import { explain, type Problem, type Remedy } from "./problems.ts";
import { regenerate } from "./reply.ts";

/** What went wrong and what can be done; `messageId` is the reply that it ended, if any. */
export function ProblemNotice({ problem, messageId }: { problem: Problem; messageId?: string }) {
  const { title, advice, remedies } = explain(problem);
  return (
    <div class="notice" role="alert">
      <Icon name="warn" />
      <div>
        <p class="notice-title">{title}</p>
        <p>{problem.message}</p>
        <p>{advice}</p>
        <div class="buttons">
          {remedies
            .filter((remedy) => messageId || !needsMessage.includes(remedy))
            .map((remedy, i) => (
              <button
                key={remedy}
                type="button"
                class={i === 0 ? "button primary" : "button"}
                onClick={() => actions[remedy](messageId ?? "")}
              >
                {labels[remedy]}
              </button>
            ))}
        </div>
      </div>
    </div>
  );
}

const needsMessage: Remedy[] = ["retry", "edit"];

const labels: Record<Remedy, string> = {
  retry: "Try again",
  disconnect: "Go on without it",
  edit: "Edit message",
  "reload-model": "Reload model",
  "choose-model": "Model options",
  "new-chat": "New chat",
  settings: "Settings",
};

const actions: Record<Remedy, (messageId: string) => void> = {
  retry: (messageId) => regenerate(messageId),
  edit: (messageId) => page.set({ editingId: questionBefore(messageId) }),
  disconnect: () => void disconnect(),
  "reload-model": () => void reloadModel(),
  "choose-model": () => page.set({ isPickerOpen: true }),
  "new-chat": () => openConversation(undefined),
  settings: () => page.set({ drawer: "settings" }),
};

function questionBefore(replyId: string): string | undefined {
  const messages = currentConversation(page.state)?.messages ?? [];
  const index = messages.findIndex(({ id }) => id === replyId);
  return messages.slice(0, index).findLast(({ role }) => role === "user")?.id;
}
