import type { LoadProgress } from "../api/types.ts";
import { bytesText } from "./text.ts";

/** Shows how far loading has come, in one line of the terminal that goes when the model is ready; nothing elsewhere. */
export function loadingLine(): (progress: LoadProgress) => void {
  if (!process.stderr.isTTY) return () => {};
  return (progress) => process.stderr.write(`\r\x1b[K${lineOf(progress)}`);
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
