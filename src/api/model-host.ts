import type { Engine, EngineStats } from "../engine/engine.ts";
import type { ExpertHost } from "../paging/expert-host.ts";
import type { LayerHost } from "../runner/layer-host.ts";
import type { ModelInfo } from "./types.ts";

/** An engine here or elsewhere. */
export interface ModelEngine extends Pick<Engine, "generate" | "clearCache" | "isLost" | "dispose"> {
  stats(): EngineStats | Promise<EngineStats>;
}

/** What a loaded model can do for the pages that lean on it. */
export interface ModelHost {
  readonly engine: ModelEngine;
  /** Absent where the model has none, or its device does not hold them all. */
  readonly experts?: ExpertHost;
  /** Absent where its device does not hold them all. */
  readonly layers?: LayerHost;
  /** Tells models apart that have the same shape. */
  readonly fingerprint: string;
  readonly info: ModelInfo;
  /** Why there are no experts and no layers to lean on, where there could be. */
  readonly lacks?: string;
}
