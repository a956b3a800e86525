import { type LanguageModel, LLM, UnsupportedDeviceError } from "sluice";
import { type ModelChoice, page, stopReply } from "./page.ts";
import { problemOf } from "./problems.ts";
import { findObstacle } from "./webgpu.ts";

export const sprout: ModelChoice = { label: "Sprout", source: new URL("./models/sprout/", document.baseURI) };

let loading = new AbortController();

/** Loads a model in place of the present one, which is freed first: two seldom fit. */
export async function loadModel(choice: ModelChoice): Promise<void> {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  const { model, settings } = page.state;
  page.set({ model: { kind: "loading", choice }, isPickerOpen: false });
  try {
    if (model.kind === "ready") {
      stopReply();
      await model.llm.dispose().catch(() => {});
    }
    const obstacle = await findObstacle();
    if (signal.aborted) return;
    if (obstacle) return page.set({ model: { kind: "unsupported", choice, obstacle } });

    const { dtype, ...options } = settings.load;
    const llm = await LLM.load(choice.source, {
      ...options,
      device: { dtype: dtype ?? "auto" },
      signal,
      onProgress: (progress) => {
        if (!signal.aborted) page.set({ model: { kind: "loading", choice, progress } });
      },
    });
    if (signal.aborted) return void llm.dispose();
    page.set({ model: { kind: "ready", choice, llm }, announcement: `${choice.label} is ready.` });
  } catch (error) {
    if (signal.aborted) return;
    const obstacle = error instanceof UnsupportedDeviceError ? await findObstacle() : undefined;
    page.set({
      model: obstacle
        ? { kind: "unsupported", choice, obstacle }
        : { kind: "failed", choice, problem: problemOf(error) },
    });
  }
}

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
