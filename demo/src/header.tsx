import { useEffect, useRef, useState } from "preact/hooks";
import { linkStates } from "./companion.ts";
import type { Conversation } from "./conversation.ts";
import { changeConversation, deleteConversation } from "./conversations.ts";
import { exportJson, exportMarkdown } from "./export.ts";
import { Icon, type IconName, Mark } from "./icons.tsx";
import { currentConversation, type Drawer, type Model, page, usePage } from "./page.ts";
import { isDark, toggleTheme } from "./theme.ts";

export function Header({ onMenu, hasSidebar }: { onMenu: () => void; hasSidebar: boolean }) {
  const conversation = usePage(currentConversation);
  const model = usePage(({ model }) => model);
  const drawer = usePage(({ drawer }) => drawer);
  const link = usePage(({ companion }) => companion.link);
  usePage(({ settings }) => settings.theme);

  const label = model.choice?.label ?? "No model";
  const toggle = (name: Drawer) => page.set({ drawer: drawer === name ? undefined : name });
  const tool = (label: string, icon: IconName, isPressed: boolean | undefined, onClick: () => void) => (
    <button
      type="button"
      class={`icon-button tool-${icon}`}
      aria-label={label}
      title={label}
      aria-pressed={isPressed}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );

  return (
    <header class="top">
      {tool(hasSidebar ? "Hide conversations" : "Show conversations", "menu", undefined, onMenu)}
      {conversation ? <Title key={conversation.id} conversation={conversation} /> : <Wordmark isShown={!hasSidebar} />}
      <button
        type="button"
        class="model-button"
        aria-label={`${label}, ${states[model.kind]}${link ? `, companion: ${linkStates[link].toLowerCase()}` : ""}. Choose a model`}
        onClick={() => page.set({ isPickerOpen: true })}
      >
        <span class="status" data-kind={model.kind} />
        <span class="label">{label}</span>
        {link && (
          <span class="link-sign" data-link={link} title={`Companion: ${linkStates[link].toLowerCase()}`}>
            <Icon name="link" />
          </span>
        )}
      </button>
      {tool("Settings", "sliders", drawer === "settings", () => toggle("settings"))}
      {tool("Engine and speed", "pulse", drawer === "engine", () => toggle("engine"))}
      {tool(isDark() ? "Use light colours" : "Use dark colours", isDark() ? "sun" : "moon", undefined, toggleTheme)}
    </header>
  );
}

const states: Record<Model["kind"], string> = {
  none: "not loaded",
  loading: "loading",
  ready: "ready",
  failed: "failed to load",
  unsupported: "cannot run here",
};

function Wordmark({ isShown }: { isShown: boolean }) {
  return (
    <div class="heading">
      <h1 class={isShown ? "wordmark" : "unseen"}>
        <Mark />
        <span>Sluice</span>
      </h1>
    </div>
  );
}

/** The conversation's title, and what can be done with the whole of it. */
function Title({ conversation }: { conversation: Conversation }) {
  const [isRenaming, setRenaming] = useState(false);
  const [isOpen, setOpen] = useState(false);
  const menu = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (!isOpen) return;
    const onPointer = (event: Event) => !menu.current?.contains(event.target as Node) && setOpen(false);
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      setOpen(false);
      button.current?.focus();
    };
    addEventListener("pointerdown", onPointer);
    addEventListener("keydown", onKey, { capture: true });
    return () => {
      removeEventListener("pointerdown", onPointer);
      removeEventListener("keydown", onKey, { capture: true });
    };
  }, [isOpen]);

  if (isRenaming) {
    return <Rename conversation={conversation} onDone={() => setRenaming(false)} />;
  }
  const item = (label: string, run: () => void) => (
    <li>
      <button
        type="button"
        onClick={() => {
          setOpen(false);
          run();
        }}
      >
        {label}
      </button>
    </li>
  );
  return (
    <div class="heading" ref={menu}>
      <h1>{conversation.title}</h1>
      <button
        ref={button}
        type="button"
        class="icon-button"
        aria-label="This conversation"
        title="This conversation"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name="more" />
      </button>
      {isOpen && (
        <ul class="menu">
          {item("Rename", () => setRenaming(true))}
          {item("Export as Markdown", () => exportMarkdown(conversation))}
          {item("Export as JSON", () => exportJson(conversation))}
          {item("Delete", () => deleteConversation(conversation))}
        </ul>
      )}
    </div>
  );
}

function Rename({ conversation, onDone }: { conversation: Conversation; onDone: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.select(), []);
  const rename = () => {
    const title = input.current?.value.trim();
    if (title && title !== conversation.title) changeConversation(conversation.id, (c) => ({ ...c, title }));
    onDone();
  };
  return (
    <div class="heading">
      <input
        ref={input}
        class="rename"
        aria-label="Conversation's title"
        defaultValue={conversation.title}
        onBlur={rename}
        onKeyDown={(event) => {
          if (event.key === "Enter") rename();
          if (event.key !== "Escape") return;
          event.preventDefault();
          onDone();
        }}
      />
    </div>
  );
}
