import type { Platform } from "../../src/api/platform.ts";
import { ObservedPlatform, withChanges } from "./observed-platform.ts";

/** Node with files that give so many bytes a second, however many readers there are. */
export class SlowStore extends ObservedPlatform {
  readonly #bytesPerSecond: number;

  constructor(bytesPerSecond: number) {
    super();
    this.#bytesPerSecond = bytesPerSecond;
  }

  override async openFiles(source: Parameters<Platform["openFiles"]>[0]) {
    const files = await super.openFiles(source);
    let freeMs = 0;
    const read: typeof files.read = async (...range) => {
      const bytes = await files.read(...range);
      const now = performance.now();
      freeMs = Math.max(freeMs, now) + (1000 * bytes.length) / this.#bytesPerSecond;
      await new Promise((resolve) => setTimeout(resolve, freeMs - now));
      return bytes;
    };
    return withChanges(files, { read });
  }
}
