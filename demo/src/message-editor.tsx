import { useLayoutEffect, useRef } from "preact/hooks";
import type { Message } from "./conversation.ts";
import { page } from "./page.ts";
import { resend } from "./reply.ts";

export function MessageEditor({ message }: { message: Message }) {
  const field = useRef<HTMLTextAreaElement>(null);
  // Before it can be typed into: a caret moved later would be moved in mid-word.
  useLayoutEffect(() => {
    const { current } = field;
    current?.focus();
    current?.setSelectionRange(current.value.length, current.value.length);
  }, []);

  const close = () => {
    page.set({ editingId: undefined });
    requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-edit="${message.id}"]`)?.focus());
  };
  const submit = () => {
    const text = field.current!.value.trim();
    if (!text || page.state.running) return;
    resend(message.id, text);
    document.querySelector<HTMLElement>("#composer")?.focus();
  };

  return (
    <div class="editor">
      <textarea
        ref={field}
        aria-label="Edit message"
        defaultValue={message.text}
        rows={3}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            submit();
          }
          if (event.key === "Escape") {
            event.preventDefault();
            close();
          }
        }}
      />
      <p>What follows this message is replaced.</p>
      <button type="button" class="button" onClick={close}>
        Cancel
      </button>
      <button type="button" class="button primary" onClick={submit}>
        Send
      </button>
    </div>
  );
}
