import type { HostCall, HostEvent, HostFacts, HostRequest, OpenedStates } from "../api/host-calls.ts";
import type { ModelHost } from "../api/model-host.ts";
import { invariant } from "../errors.ts";
import type { OpenLayers } from "../runner/layer-host.ts";

/** Does in a worker what `remoteHost` asks for in the process of the server. */
export class HostAnswers {
  readonly #open = new Map<number, OpenLayers>();

  /** Calls take effect in their order. */
  async answer(
    host: ModelHost,
    call: HostCall,
    tell: (event: HostEvent) => void,
    signal: AbortSignal,
  ): Promise<unknown> {
    switch (call.what) {
      case "facts":
        return factsOf(host);
      case "generate":
        return generate(host, call.request, tell, signal);
      case "sum":
        return host.experts?.sum(call.layer, call.input);
      case "bytes":
        return host.layers?.bytes(call.options);
      case "open": {
        invariant(host.layers, "layers of a model that lends none");
        const opened = await host.layers.open(call.options);
        this.#open.set(call.layers, opened);
        return { limits: opened.limits } satisfies OpenedStates;
      }
      case "pass":
        return this.#layers(call.layers).pass(call.step);
      case "copy": {
        const layers = this.#layers(call.layers);
        return call.of === "state" ? layers.copyState(call.from, call.to) : layers.copyBlock(call.from, call.to);
      }
      case "close": {
        const layers = this.#layers(call.layers);
        this.#open.delete(call.layers);
        return layers.dispose();
      }
    }
  }

  #layers(name: number): OpenLayers {
    const layers = this.#open.get(name);
    invariant(layers, `states ${name} are not open`);
    return layers;
  }
}

function factsOf({ fingerprint, info, lacks, experts, layers }: ModelHost): HostFacts {
  return {
    fingerprint,
    info,
    lacks,
    experts: experts && { shape: experts.shape, isVital: experts.isVital },
    layers: layers && { count: layers.count, hidden: layers.hidden, maxBatchTokens: layers.maxBatchTokens },
  };
}

async function generate(
  { engine }: ModelHost,
  { mask, isScored, ...request }: HostRequest,
  tell: (event: HostEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const events = engine.generate({
    ...request,
    mask: mask && (() => mask),
    // The logits are gone when this returns.
    score: isScored
      ? (logits, position) => tell({ kind: "scored", position, logits: Float32Array.from(logits) })
      : undefined,
    signal,
  });
  for await (const event of events) tell(event);
}
