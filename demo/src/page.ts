import type { CompanionProbe, CompanionStats, LanguageModel, LoadOptions, LoadProgress, ModelSource } from "sluice";
import type { CompanionChoice } from "./companion-choice.ts";
import type { Conversation, Sampling } from "./conversation.ts";
import type { Problem } from "./problems.ts";
import { Store, useStore } from "./store.ts";
import type { Obstacle } from "./webgpu.ts";

/** Everything that is on the page, apart from what a component alone cares about. */
export interface Page {
  /** The newest first. */
  readonly conversations: readonly Conversation[];
  /** `undefined`: a new chat, not yet begun. */
  readonly currentId: string | undefined;
  readonly running: Running | undefined;
  readonly model: Model;
  readonly settings: Settings;
  /** Unsent text by conversation; "" is the new chat. */
  readonly drafts: Readonly<Record<string, string>>;
  readonly editingId: string | undefined;
  readonly drawer: Drawer | undefined;
  readonly isPickerOpen: boolean;
  /** The part of the picker to begin at, if not at its beginning: an id. */
  readonly pickerPart: string | undefined;
  /** A model that is loaded once its plan was seen. */
  readonly proposed: ModelChoice | undefined;
  /** For the Hub; never stored. */
  readonly hubToken: string;
  readonly companion: Companion;
  readonly toast: Toast | undefined;
  /** Read out by screen readers. */
  readonly announcement: string;
}

/** A server to lean on. */
export interface Companion {
  readonly isConnecting: boolean;
  /** What models are loaded with, once it was reached. */
  readonly choice?: CompanionChoice;
  readonly probe?: CompanionProbe;
  /** Why there is none. */
  readonly problem?: Problem;
  /** Of the model that is loaded. */
  readonly link?: CompanionStats["state"];
}

export type Drawer = "settings" | "engine";

export interface Running {
  readonly conversationId: string;
  readonly messageId: string;
  readonly phase: "waiting" | "reading" | "writing";
  readonly prompt?: { readonly done: number; readonly total: number };
  readonly tokens: number;
  /** Of the first token, by `performance.now()`. */
  readonly startedAt: number;
  readonly abort: AbortController;
}

export interface ModelChoice {
  readonly label: string;
  readonly source: ModelSource;
}

export type Model =
  | { readonly kind: "none"; readonly choice?: ModelChoice }
  | { readonly kind: "loading"; readonly choice: ModelChoice; readonly progress?: LoadProgress }
  | {
      readonly kind: "ready";
      readonly choice: ModelChoice;
      readonly llm: LanguageModel;
      /** That it was loaded with. */
      readonly expertShare: number | undefined;
      /** How far it is with loading itself anew: its device was lost, or its companion. */
      readonly reload?: LoadProgress;
    }
  | { readonly kind: "failed"; readonly choice: ModelChoice; readonly problem: Problem }
  | { readonly kind: "unsupported"; readonly choice: ModelChoice; readonly obstacle: Obstacle };

export interface Settings {
  readonly theme: "system" | "light" | "dark";
  readonly sampling: Sampling;
  /** For chats to come; each conversation keeps its own. */
  readonly systemPrompt: string;
  /** Names of the page's tools that the model may call. */
  readonly tools: readonly string[];
  /** Models that can think do, unless this is "never". */
  readonly thinking: "auto" | "never";
  readonly load: Pick<LoadOptions, "maxContext" | "quantization"> & { readonly dtype?: "f32" | "f16" };
  /** By model: the share of each layer's experts that the device holds, below 1. Absent: all of them. */
  readonly expertShares: Readonly<Record<string, number>>;
  /** The one that was connected last; its key only where that was asked for. */
  readonly companion?: Pick<CompanionChoice, "url" | "way"> & { readonly key?: string };
  readonly isSidebarOpen: boolean;
}

export interface Toast {
  readonly text: string;
  readonly action?: { readonly label: string; readonly run: () => void };
}

const defaults: Settings = {
  theme: "system",
  sampling: {},
  systemPrompt: "",
  tools: [],
  thinking: "auto",
  load: {},
  expertShares: {},
  isSidebarOpen: true,
};

export const page = new Store<Page>({
  conversations: [],
  currentId: undefined,
  running: undefined,
  model: { kind: "none" },
  settings: { ...defaults, ...remembered<Partial<Settings>>(localStorage, "settings") },
  drafts: remembered<Record<string, string>>(sessionStorage, "drafts") ?? {},
  editingId: undefined,
  drawer: undefined,
  isPickerOpen: false,
  pickerPart: undefined,
  proposed: undefined,
  hubToken: "",
  companion: { isConnecting: false, choice: remembered(sessionStorage, "companion") },
  toast: undefined,
  announcement: "",
});

export const usePage = <T>(select: (page: Page) => T): T => useStore(page, select);

export const currentConversation = ({ conversations, currentId }: Page) =>
  conversations.find(({ id }) => id === currentId);

export const stopReply = () => page.state.running?.abort.abort();

export function changeSettings(change: Partial<Settings>): void {
  page.set(({ settings }) => ({ settings: { ...settings, ...change } }));
  remember(localStorage, "settings", page.state.settings);
}

/** Drafts belong to a tab and survive its reload. */
export function keepDraft(conversationId: string | undefined, text: string): void {
  page.set(({ drafts }) => ({ drafts: { ...drafts, [conversationId ?? ""]: text } }));
  remember(sessionStorage, "drafts", page.state.drafts);
}

/** A companion belongs to a tab, and survives its reload. */
export function keepCompanion(choice: CompanionChoice | undefined): void {
  remember(sessionStorage, "companion", choice ?? null);
}

let toastTimer: ReturnType<typeof setTimeout> | undefined;

export function showToast(toast: Toast): void {
  clearTimeout(toastTimer);
  page.set({ toast });
  toastTimer = setTimeout(() => page.set({ toast: undefined }), 8000);
}

// Storage may be closed to the page (blocked cookies, full disk): then nothing is remembered, and nothing else breaks.

function remembered<T>(storage: Storage, key: string): T | undefined {
  try {
    const text = storage.getItem(`sluice-demo:${key}`);
    return text ? ((JSON.parse(text) ?? undefined) as T | undefined) : undefined;
  } catch {
    return undefined;
  }
}

function remember(storage: Storage, key: string, value: unknown): void {
  try {
    storage.setItem(`sluice-demo:${key}`, JSON.stringify(value));
  } catch {}
}
