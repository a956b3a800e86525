import { useEffect, useState } from "preact/hooks";
import { Chat } from "./chat.tsx";
import { openConversation } from "./conversations.ts";
import { Drawer, useMedia } from "./drawer.tsx";
import { EnginePanel } from "./engine-panel.tsx";
import { folderOfDrop } from "./folder.ts";
import { Header } from "./header.tsx";
import { loadModel } from "./model.ts";
import { ModelPicker } from "./model-picker.tsx";
import { changeSettings, page, showToast, stopReply, usePage } from "./page.ts";
import { Settings } from "./settings.tsx";
import { Sidebar } from "./sidebar.tsx";

export function App() {
  const isWide = useMedia("(min-width: 52rem)");
  const isRoomy = useMedia("(min-width: 76rem)");
  const isSidebarOpen = usePage(({ settings }) => settings.isSidebarOpen);
  const [isMenuOpen, setMenuOpen] = useState(false);
  const drawer = usePage(({ drawer }) => drawer);
  const isPickerOpen = usePage(({ isPickerOpen }) => isPickerOpen);
  const pickerPart = usePage(({ pickerPart }) => pickerPart);
  const isDropping = useDrop();
  useKeys();

  const closePicker = () => page.set({ isPickerOpen: false, pickerPart: undefined, proposed: undefined });
  const closeDrawer = () => page.set({ drawer: undefined });
  const toggleSidebar = () => (isWide ? changeSettings({ isSidebarOpen: !isSidebarOpen }) : setMenuOpen(true));
  const title = drawer === "settings" ? "Settings" : "Engine";
  const panel = drawer === "settings" ? <Settings /> : <EnginePanel />;

  return (
    <div class="app">
      {isWide && isSidebarOpen && <Sidebar />}
      <div class="column">
        <Header onMenu={toggleSidebar} hasSidebar={isWide && isSidebarOpen} />
        <Chat />
      </div>
      {drawer && isRoomy && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the panel scrolls, also with the keyboard.
        <aside class="side-panel" aria-label={title} tabIndex={0}>
          <h2>{title}</h2>
          {panel}
        </aside>
      )}
      {drawer && !isRoomy && (
        <Drawer title={title} side="right" onClose={closeDrawer}>
          {panel}
        </Drawer>
      )}
      {isMenuOpen && !isWide && (
        <Drawer title="Conversations" side="left" onClose={() => setMenuOpen(false)}>
          <Sidebar onChoose={() => setMenuOpen(false)} />
        </Drawer>
      )}
      {isPickerOpen && (
        <Drawer title="Model" side="middle" part={pickerPart} onClose={closePicker}>
          <ModelPicker />
        </Drawer>
      )}
      {isDropping && <div class="drop-hint">Drop a model's folder, or a .gguf, to open it</div>}
      <Toast />
      <Announcer />
    </div>
  );
}

/** Finished replies and changes of state, for screen readers; never single tokens. */
function Announcer() {
  const announcement = usePage(({ announcement }) => announcement);
  return (
    <div class="unseen" role="status">
      {announcement}
    </div>
  );
}

function Toast() {
  const toast = usePage(({ toast }) => toast);
  return (
    <div class="toasts" role="status">
      {toast && (
        <div class="toast">
          <span>{toast.text}</span>
          {toast.action && (
            <button type="button" onClick={toast.action.run}>
              {toast.action.label}
            </button>
          )}
        </div>
      )}
    </div>
  );
}

function useKeys(): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        openConversation(undefined);
        document.querySelector<HTMLTextAreaElement>("#composer")?.focus();
      }
      if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
      const isInPanel = event.target instanceof Element && event.target.closest(".side-panel");
      if (isInPanel) page.set({ drawer: undefined });
      else stopReply();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

/** A folder dropped anywhere is opened as a model. */
function useDrop(): boolean {
  const [isDropping, setDropping] = useState(false);
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const onOver = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDropping(true);
    };
    const onLeave = (event: DragEvent) => event.relatedTarget === null && setDropping(false);
    const onDrop = async (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setDropping(false);
      const { name, files } = await folderOfDrop(event.dataTransfer!);
      if (files.length > 0) await loadModel({ label: name, source: files });
      else showToast({ text: "There were no files in what you dropped." });
    };
    addEventListener("dragover", onOver);
    addEventListener("dragleave", onLeave);
    addEventListener("drop", onDrop);
    return () => {
      removeEventListener("dragover", onOver);
      removeEventListener("dragleave", onLeave);
      removeEventListener("drop", onDrop);
    };
  }, []);
  return isDropping;
}
