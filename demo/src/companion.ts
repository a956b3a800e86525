import { type CompanionStats, type LanguageModel, probeCompanion } from "sluice";
import { type CompanionChoice, companionOptions } from "./companion-choice.ts";
import { reloadModel } from "./model.ts";
import { changeSettings, keepCompanion, page, showToast } from "./page.ts";
import { problemOf } from "./problems.ts";

/** Measures the way to a companion, and loads the model again to lean on it. Where that cannot be, the model stays as it is. */
export async function connect(choice: CompanionChoice, isKeyKept: boolean): Promise<void> {
  const { url, key, way } = choice;
  page.set({ companion: { isConnecting: true } });
  try {
    const probe = await probeCompanion(companionOptions({ ...choice, way: "auto" })!);
    changeSettings({ companion: { url, way, ...(isKeyKept && { key }) } });
    keepCompanion(choice);
    page.set({ companion: { isConnecting: false, choice, probe } });
  } catch (error) {
    page.set({ companion: { isConnecting: false, problem: problemOf(error) } });
    return;
  }
  await reloadModel();
}

/** The model is loaded again, to lean on the companion in another way. */
export async function changeWay(way: CompanionChoice["way"]): Promise<void> {
  const { companion, settings } = page.state;
  const choice = { ...companion.choice!, way };
  changeSettings({ companion: { ...settings.companion, url: choice.url, way } });
  keepCompanion(choice);
  page.set({ companion: { ...companion, choice } });
  await reloadModel();
}

export async function disconnect(): Promise<void> {
  keepCompanion(undefined);
  page.set({ companion: { isConnecting: false } });
  await reloadModel();
}

/** Where companions are connected and changed: below the models. */
export function openCompanion(): void {
  page.set({ isPickerOpen: true, pickerPart: "companion", proposed: undefined, toast: undefined });
}

const LOOK_MS = 1000;

/** Follows the link of a model as long as that is the page's. */
export async function followLink(llm: LanguageModel): Promise<void> {
  const isAtHand = () => page.state.model.kind === "ready" && page.state.model.llm === llm;
  while (isAtHand()) {
    const stats = document.hidden ? undefined : await llm.stats().catch(() => undefined);
    const link = stats?.companion?.state;
    if (isAtHand() && link && link !== page.state.companion.link) show(link);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

export const linkStates: Record<CompanionStats["state"], string> = {
  connected: "Connected",
  reconnecting: "Reconnecting",
  lost: "Gone",
  replaced: "Gone; goes on here",
};

function show(link: CompanionStats["state"]): void {
  const isFirst = page.state.companion.link === undefined;
  page.set(({ companion }) => ({ companion: { ...companion, link } }));
  if (!isFirst) page.set({ announcement: `Companion: ${linkStates[link]}.` });
  const action = { label: "Show", run: () => page.set({ drawer: "engine", toast: undefined }) };
  if (link === "lost") showToast({ text: "The companion is gone. The next message tries it again.", action });
  if (link === "replaced") showToast({ text: "The companion is gone. This device goes on alone.", action });
}
