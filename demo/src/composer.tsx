import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { lastUsage } from "./conversation.ts";
import { count } from "./format.ts";
import { Gauge } from "./gauge.tsx";
import { Icon } from "./icons.tsx";
import { currentConversation, keepDraft, page, stopReply, usePage } from "./page.ts";
import { send } from "./reply.ts";

const hasKeyboard = matchMedia("(hover: hover) and (pointer: fine)").matches;

export function Composer() {
  const currentId = usePage(({ currentId }) => currentId);
  const draft = usePage(({ drafts, currentId }) => drafts[currentId ?? ""] ?? "");
  const running = usePage(({ running }) => running);
  const model = usePage(({ model }) => model);
  const field = useRef<HTMLTextAreaElement>(null);
  const canAnswer = model.kind === "ready" || model.kind === "loading";
  const isElsewhere = running !== undefined && running.conversationId !== currentId;

  useLayoutEffect(() => fitHeight(field.current!), [draft]);
  useEffect(() => {
    if (hasKeyboard) field.current?.focus();
  }, [currentId]);

  const submit = () => {
    const text = draft.trim();
    if (text && canAnswer && !running) send(text);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    }
    if (event.key === "ArrowUp" && draft === "" && !running) {
      const question = currentConversation(page.state)?.messages.findLast(({ role }) => role === "user");
      if (!question) return;
      event.preventDefault();
      page.set({ editingId: question.id });
    }
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <label class="unseen" for="composer">
        Message
      </label>
      <textarea
        id="composer"
        ref={field}
        rows={1}
        value={draft}
        placeholder={`Message ${model.choice?.label ?? "the model"}`}
        enterkeyhint="send"
        autocomplete="off"
        onInput={(event) => keepDraft(currentId, event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="composer-foot">
        <Context draft={draft} />
        {isElsewhere && <span class="elsewhere">Answering another conversation</span>}
        {running ? (
          <button type="button" class="round stop" aria-label="Stop" title="Stop (Esc)" onClick={stopReply}>
            <Icon name="stop" />
          </button>
        ) : (
          <button
            type="submit"
            class="round"
            aria-label="Send"
            title="Send (Enter)"
            disabled={!draft.trim() || !canAnswer}
          >
            <Icon name="up" />
          </button>
        )}
      </div>
    </form>
  );
}

/** How full the context is: the last turn's tokens, and those of the draft. */
function Context({ draft }: { draft: string }) {
  const model = usePage(({ model }) => model);
  const usage = usePage((state) => lastUsage(currentConversation(state)));
  const written = usePage(({ running, currentId }) =>
    running?.conversationId === currentId ? (running?.tokens ?? 0) : 0,
  );
  const llm = model.kind === "ready" ? model.llm : undefined;
  const [draftTokens, setDraftTokens] = useState(0);

  useEffect(() => {
    let isCurrent = true;
    if (!llm || draft.trim() === "") {
      setDraftTokens(0);
      return;
    }
    const timer = setTimeout(() => {
      llm.tokenize(draft).then(
        ({ length }) => isCurrent && setDraftTokens(length),
        () => {}, // A lost worker is told of where a reply needs it.
      );
    }, 150);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [draft, llm]);

  if (!llm) return <span class="context" />;
  const { maxContext } = llm.info;
  const used = (usage ? usage.promptTokens + usage.completionTokens : 0) + written + draftTokens;
  const text = `${count(used)} of ${count(maxContext)} tokens`;
  return (
    <span class="context" title={`Context: ${text}`}>
      <Gauge label="Context used" value={used} max={maxContext} text={text} />
      <span aria-hidden="true">{text}</span>
    </span>
  );
}

/** For browsers without `field-sizing: content`. */
function fitHeight(field: HTMLTextAreaElement): void {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
