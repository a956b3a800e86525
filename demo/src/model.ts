import { CompanionError, type LanguageModel, LLM, type LoadOptions, UnsupportedDeviceError } from "sluice";
import { followLink, openCompanion } from "./companion.ts";
import { companionOptions } from "./companion-choice.ts";
import { library, refreshLibrary, storedModel } from "./library.ts";
import { changeSettings, keepCompanion, type ModelChoice, page, type Settings, showToast, stopReply } from "./page.ts";
import { explain, problemOf } from "./problems.ts";
import { findObstacle, type Obstacle } from "./webgpu.ts";

export const sprout: ModelChoice = { label: "Sprout", source: new URL("./models/sprout/", document.baseURI).href };

let loading = new AbortController();

/** Loads a model in place of the present one, which is freed first: two seldom fit. */
export async function loadModel(choice: ModelChoice): Promise<void> {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  const { model, settings } = page.state;
  page.set(({ companion }) => ({
    model: { kind: "loading", choice },
    companion: { ...companion, link: undefined },
    isPickerOpen: false,
    pickerPart: undefined,
    proposed: undefined,
  }));
  try {
    if (model.kind === "ready") {
      stopReply();
      await model.llm.dispose().catch(() => {});
    }
    const obstacle = await findObstacle();
    if (signal.aborted) return;
    const companion = leanOn(obstacle);
    if (obstacle && !companion) return page.set({ model: { kind: "unsupported", choice, obstacle } });

    let notice: string | undefined;
    const llm = await LLM.load(choice.source, {
      ...loadOptions(choice, settings),
      companion,
      signal,
      onProgress: (progress) => {
        if (signal.aborted) return;
        notice = progress.store?.notice;
        const { model } = page.state;
        const reload = progress.phase === "ready" ? undefined : progress;
        page.set({ model: model.kind === "ready" ? { ...model, reload } : { kind: "loading", choice, progress } });
      },
    });
    if (signal.aborted) return void llm.dispose();
    page.set({
      model: { kind: "ready", choice, llm, expertShare: expertShare(choice, settings) },
      announcement: `${choice.label} is ready.`,
    });
    if (llm.info.companion && llm.info.companion.mode !== "none") void followLink(llm);
    if (notice) showToast({ text: notice });
    void refreshLibrary();
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof CompanionError) return goAlone(choice, error);
    const obstacle = error instanceof UnsupportedDeviceError ? await findObstacle() : undefined;
    page.set({
      model: obstacle
        ? { kind: "unsupported", choice, obstacle }
        : { kind: "failed", choice, problem: problemOf(error) },
    });
  }
}

/** Without a device of one's own there is one way to lean on a companion. */
function leanOn(obstacle: Obstacle | undefined): LoadOptions["companion"] {
  const { choice } = page.state.companion;
  const options = choice && companionOptions(choice);
  if (!obstacle || !options) return options;
  return obstacle === "insecure" || options.mode === "experts" ? undefined : { ...options, mode: "requests" };
}

/** A companion that cannot be leaned on shall keep nobody from writing. */
function goAlone(choice: ModelChoice, error: CompanionError): Promise<void> {
  const problem = problemOf(error);
  page.set({ companion: { isConnecting: false, problem } });
  keepCompanion(undefined);
  showToast({
    text: `${explain(problem).title}. ${choice.label} is loaded without it.`,
    action: { label: "Show", run: openCompanion },
  });
  return loadModel(choice);
}

/**
 * Loads a model that is on this device already; shows first what another would take. `Sprout` comes with the page.
 */
export async function openModel(choice: ModelChoice): Promise<void> {
  if (typeof choice.source === "string" && choice.source !== sprout.source && !(await isStored(choice.source))) {
    page.set({ proposed: choice, isPickerOpen: true });
  } else {
    await loadModel(choice);
  }
}

async function isStored(source: string): Promise<boolean> {
  await refreshLibrary();
  return storedModel(library.state, source)?.isComplete ?? false;
}

/** What the settings say about loading, in the package's words. */
export function loadOptions(choice: ModelChoice, settings: Settings): Omit<LoadOptions, "onProgress"> {
  const { dtype, ...options } = settings.load;
  const share = expertShare(choice, settings);
  return {
    ...options,
    device: { dtype: dtype ?? "auto" },
    hubToken: page.state.hubToken || undefined,
    memory: share === undefined ? undefined : `${100 * share}%`,
  };
}

export const expertShare = (choice: ModelChoice, { expertShares }: Settings): number | undefined =>
  expertShares[keyOf(choice)];

/** Has to be asked for again to have an effect: a model is loaded with the share that is set then. */
export function setExpertShare(choice: ModelChoice, share: number | undefined): void {
  const { [keyOf(choice)]: _, ...others } = page.state.settings.expertShares;
  changeSettings({ expertShares: share === undefined ? others : { ...others, [keyOf(choice)]: share } });
}

const keyOf = ({ label, source }: ModelChoice): string => (typeof source === "string" ? source : label);

export function cancelLoading(): void {
  loading.abort();
  const { model } = page.state;
  if (model.kind === "loading") page.set({ model: { kind: "none", choice: model.choice } });
}

export function reloadModel(): Promise<void> {
  return loadModel(page.state.model.choice ?? sprout);
}

/** The model, once a load that is under way has ended. */
export function modelWhenReady(signal: AbortSignal): Promise<LanguageModel> {
  return new Promise((resolve, reject) => {
    const look = () => {
      const { model } = page.state;
      if (signal.aborted) reject(signal.reason);
      else if (model.kind === "ready") resolve(model.llm);
      else if (model.kind !== "loading") reject(new Error("No model is loaded."));
      else return;
      unsubscribe();
      signal.removeEventListener("abort", look);
    };
    const unsubscribe = page.subscribe(look);
    signal.addEventListener("abort", look);
    look();
  });
}
