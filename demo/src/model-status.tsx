import type { LoadProgress } from "sluice";
import { bytes, bytesOf, duration } from "./format.ts";
import { Gauge } from "./gauge.tsx";
import { cancelLoading, reloadModel } from "./model.ts";
import { type Model, page } from "./page.ts";
import { ProblemNotice } from "./problem-notice.tsx";

/** Above the composer while there is no model to write to: how far it is, or what is in the way. */
export function ModelStatus({ model, isChatEmpty }: { model: Model; isChatEmpty: boolean }) {
  switch (model.kind) {
    case "ready":
      return model.reload ? <Loading label={model.choice.label} progress={model.reload} /> : null;
    case "loading":
      return <Loading label={model.choice.label} progress={model.progress} onCancel={cancelLoading} />;
    case "failed":
      return <ProblemNotice problem={model.problem} />;
    case "unsupported":
      return isChatEmpty ? null : (
        <div class="strip">
          <span>The model needs WebGPU, which this browser does not offer here.</span>
          <button type="button" class="button" onClick={() => page.set({ currentId: undefined })}>
            What to do
          </button>
        </div>
      );
    case "none":
      return (
        <div class="strip">
          <span>No model is loaded.</span>
          <button type="button" class="button" onClick={() => page.set({ isPickerOpen: true })}>
            Choose a model
          </button>
          {model.choice && (
            <button type="button" class="button primary" onClick={reloadModel}>
              Load {model.choice.label}
            </button>
          )}
        </div>
      );
  }
}

const phases: Record<LoadProgress["phase"], string> = {
  open: "Opening",
  weights: "Reading weights",
  compile: "Compiling shaders",
  ready: "Ready",
};

interface LoadingProperties {
  readonly label: string;
  readonly progress: LoadProgress | undefined;
  /** Absent where a reply is waiting for it. */
  readonly onCancel?: () => void;
}

function Loading({ label, progress, onCancel }: LoadingProperties) {
  const { loadedBytes, totalBytes, bytesPerSecond, phase } = progress ?? start;
  const left = bytesPerSecond > 0 ? (totalBytes - loadedBytes) / bytesPerSecond : 0;
  const figures =
    phase === "weights" && totalBytes > 0
      ? [
          bytesOf(loadedBytes, totalBytes),
          bytesPerSecond > 0 && `${bytes(bytesPerSecond)}/s`,
          left > 0 && `${duration(left)} left`,
        ]
          .filter(Boolean)
          .join(" · ")
      : "";
  return (
    <div class="strip loading">
      <div class="strip-text">
        <span>
          <strong>{label}</strong> {phases[phase]}
        </span>
        <span class="numbers">{figures}</span>
      </div>
      <Gauge
        role="progressbar"
        label={`Loading ${label}`}
        value={phase === "compile" ? totalBytes : loadedBytes}
        max={totalBytes}
        text={`${phases[phase]} ${figures}`}
      />
      {onCancel && (
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
      )}
    </div>
  );
}

const start: LoadProgress = { phase: "open", loadedBytes: 0, totalBytes: 0, bytesPerSecond: 0 };
