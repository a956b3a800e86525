import type { HostCall, HostFacts, OpenedStates } from "../api/host-calls.ts";
import type { ModelEngine, ModelHost } from "../api/model-host.ts";
import type { RemoteLLM } from "../api/remote-llm.ts";
import type { EngineEvent, EngineRequest } from "../engine/engine.ts";
import type { LayerHost, OpenLayers } from "../runner/layer-host.ts";

type Rows = Float32Array<ArrayBuffer>;

/**
 * What a model in a worker does for those who lean on it. Its states are that worker's, and end with it: then everything
 * fails with `WorkerError`. `load` counts the replies under way.
 */
export async function remoteHost(llm: RemoteLLM, load: { open: number }): Promise<ModelHost> {
  const call = async (call: HostCall): Promise<unknown> => (await llm.hosted(call).next()).value;
  const { experts, layers, ...facts } = (await call({ what: "facts" })) as HostFacts;
  return {
    ...facts,
    engine: remoteEngine(llm, load),
    experts: experts && {
      ...experts,
      sum: async (layer, input) => (await call({ what: "sum", layer, input })) as Rows,
    },
    layers: layers && { ...layers, ...remoteLayers(call) },
  };
}

let nextLayers = 1;

function remoteLayers(call: (call: HostCall) => Promise<unknown>): Pick<LayerHost, "bytes" | "open"> {
  // What goes wrong with these shows in the pass behind them; a worker that is gone has freed all it had.
  const send = (message: HostCall) => void call(message).catch(() => {});
  return {
    bytes: async (options) => (await call({ what: "bytes", options })) as number,
    async open(options): Promise<OpenLayers> {
      const layers = nextLayers++;
      const { limits } = (await call({ what: "open", layers, options })) as OpenedStates;
      return {
        limits,
        pass: async (step) => (await call({ what: "pass", layers, step })) as Rows,
        copyState: (from, to) => send({ what: "copy", layers, of: "state", from, to }),
        copyBlock: (from, to) => send({ what: "copy", layers, of: "block", from, to }),
        dispose: () => send({ what: "close", layers }),
      };
    },
  };
}

function remoteEngine(llm: RemoteLLM, load: { open: number }): ModelEngine {
  return {
    async *generate(request: EngineRequest): AsyncGenerator<EngineEvent, void, void> {
      const { mask, prepareMask, score, signal, ...rest } = request;
      load.open++;
      try {
        const call: HostCall = {
          what: "generate",
          request: { ...rest, mask: mask?.(request.reply ?? []), isScored: score !== undefined },
        };
        for await (const event of llm.hosted(call, signal)) {
          if (event.kind === "scored") score?.(event.logits, event.position);
          else yield event;
        }
      } finally {
        load.open--;
      }
    },
    stats: () => llm.stats(),
    clearCache: () => void llm.clearCache().catch(() => {}),
    isLost: false,
    // It is the pool's.
    dispose: () => {},
  };
}
