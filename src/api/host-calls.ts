import type { EngineEvent, EngineRequest } from "../engine/engine.ts";
import type { RunnerLimits } from "../engine/runner.ts";
import type { ExpertHost, ExpertInput } from "../paging/expert-host.ts";
import type { BranchOptions } from "../runner/branch.ts";
import type { LayerHost, OpenLayers } from "../runner/layer-host.ts";
import type { ModelHost } from "./model-host.ts";

/** What a model in a worker is asked to do for those who lean on it. `layers` names states that the asker has opened. */
export type HostCall =
  | { readonly what: "facts" }
  | { readonly what: "generate"; readonly request: HostRequest }
  | { readonly what: "sum"; readonly layer: number; readonly input: ExpertInput }
  | { readonly what: "bytes"; readonly options: BranchOptions }
  | { readonly what: "open"; readonly layers: number; readonly options: BranchOptions }
  | { readonly what: "pass"; readonly layers: number; readonly step: Parameters<OpenLayers["pass"]>[0] }
  | {
      readonly what: "copy";
      readonly layers: number;
      readonly of: "state" | "block";
      readonly from: number;
      readonly to: number;
    }
  | { readonly what: "close"; readonly layers: number };

/** A request without functions: `mask` is that of all draws. */
export type HostRequest = Omit<EngineRequest, "mask" | "prepareMask" | "score" | "signal"> & {
  readonly mask?: Uint32Array<ArrayBuffer>;
  readonly isScored: boolean;
};

export type HostEvent =
  | EngineEvent
  | { readonly kind: "scored"; readonly position: number; readonly logits: Float32Array };

/** The answer to `facts`. */
export type HostFacts = Pick<ModelHost, "fingerprint" | "info" | "lacks"> & {
  readonly experts?: Pick<ExpertHost, "shape" | "isVital">;
  readonly layers?: Pick<LayerHost, "count" | "hidden" | "maxBatchTokens">;
};

/** The answer to `open`. */
export interface OpenedStates {
  readonly limits: RunnerLimits;
}
