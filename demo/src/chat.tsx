import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Composer } from "./composer.tsx";
import { Empty } from "./empty.tsx";
import { Icon } from "./icons.tsx";
import { MessageView } from "./message.tsx";
import { ModelStatus } from "./model-status.tsx";
import { currentConversation, type Running, usePage } from "./page.ts";
import { Unsupported } from "./unsupported.tsx";

export function Chat() {
  const conversation = usePage(currentConversation);
  const running = usePage(({ running }) => running);
  const editingId = usePage(({ editingId }) => editingId);
  const model = usePage(({ model }) => model);
  const scroll = useScroll(conversation?.id, conversation?.messages.length);

  const messages = conversation?.messages ?? [];
  const runningHere = (id: string): Running | undefined => (running?.messageId === id ? running : undefined);

  return (
    <main>
      <section
        class="transcript"
        ref={scroll.frame}
        onScroll={scroll.onScroll}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the transcript scrolls, also with the keyboard.
        tabIndex={0}
        aria-label="Transcript"
      >
        <div class="page" ref={scroll.content}>
          {messages.map((message, i) => (
            <MessageView
              key={message.id}
              message={message}
              running={runningHere(message.id)}
              isBusy={running !== undefined}
              isEditing={editingId === message.id}
              isLast={i === messages.length - 1}
            />
          ))}
          {messages.length === 0 &&
            (model.kind === "unsupported" ? <Unsupported obstacle={model.obstacle} /> : <Empty model={model} />)}
        </div>
      </section>
      <div class="dock">
        {!scroll.isAtEnd && messages.length > 0 && (
          <button type="button" class="jump" onClick={scroll.toEnd}>
            <Icon name="down" />
            <span>Jump to latest</span>
          </button>
        )}
        <ModelStatus model={model} isChatEmpty={messages.length === 0} />
        {model.kind !== "unsupported" && <Composer />}
      </div>
    </main>
  );
}

/** Stays at the end while text comes, unless the reader has scrolled away from it. */
function useScroll(conversationId: string | undefined, messageCount: number | undefined) {
  const frame = useRef<HTMLElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const isPinned = useRef(true);
  const [isAtEnd, setAtEnd] = useState(true);

  const toEnd = () => {
    isPinned.current = true;
    setAtEnd(true);
    frame.current?.scrollTo({ top: frame.current.scrollHeight });
  };
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = frame.current!;
    isPinned.current = scrollHeight - scrollTop - clientHeight < 48;
    setAtEnd(isPinned.current);
  };

  useLayoutEffect(() => {
    if (messageCount) toEnd();
  }, [conversationId, messageCount]);
  useEffect(() => {
    const observer = new ResizeObserver(() => isPinned.current && frame.current?.querySelector("article") && toEnd());
    observer.observe(content.current!);
    observer.observe(frame.current!);
    return () => observer.disconnect();
  }, []);

  return { frame, content, onScroll, toEnd, isAtEnd };
}
