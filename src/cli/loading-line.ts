import type { LoadProgress } from "../api/types.ts";
import { bytesText } from "./text.ts";

/** How a model is being loaded. */
export interface Loading {
  readonly onProgress: (progress: LoadProgress) => void;
  /** What the user should know of where the model is stored. */
  readonly notice?: string;
}

/** Shows how far loading has come, in one line of the terminal that goes when the model is ready; elsewhere nothing is shown. */
export function showLoading(): Loading {
  let notice: string | undefined;
  return {
    onProgress(progress) {
      notice = progress.store?.notice;
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${lineOf(progress)}`);
    },
    get notice() {
      return notice;
    },
  };
}

function lineOf({ phase, loadedBytes, totalBytes, bytesPerSecond, secondsLeft }: LoadProgress): string {
  switch (phase) {
    case "open":
      return "Opening the model …";
    case "weights":
      return [
        `Loading weights: ${bytesText(loadedBytes)} of ${bytesText(totalBytes)}`,
        `${bytesText(bytesPerSecond)}/s`,
        ...(secondsLeft ? [`${Math.ceil(secondsLeft)} s left`] : []),
      ].join(", ");
    case "compile":
      return "Compiling shaders …";
    case "ready":
      return "";
  }
}
