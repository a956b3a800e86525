import { invariant } from "../errors.ts";
import type { HostCall, HostEvent } from "./host-calls.ts";
import { LocalLLM } from "./llm.ts";
import type { ModelHost } from "./model-host.ts";
import { planModel } from "./plan-model.ts";
import type { Platform } from "./platform.ts";
import { type Port, packError, type ToPage, type ToWorker } from "./port.ts";
import type { LoadProgress } from "./types.ts";

/** Does what those who lean on a model want of it. */
export interface Hosting {
  answer(host: ModelHost, call: HostCall, tell: (event: HostEvent) => void, signal: AbortSignal): Promise<unknown>;
}

/** Runs one model for whoever is at the other end of `port`. */
export function serveLLM(port: Port<ToPage, ToWorker>, platform: Platform, hosting?: Hosting): void {
  const aborts = new Map<number, AbortController>();
  let model: LocalLLM | undefined;

  const answer = async (message: ToWorker, signal: AbortSignal): Promise<unknown> => {
    const { id } = message;
    if (message.kind === "load") {
      const onProgress = (progress: LoadProgress) => port.postMessage({ kind: "progress", id, progress });
      model = await LocalLLM.load(platform, message.source, { ...message.options, onProgress, signal });
      port.postMessage({ kind: "info", id, info: model.info });
      return undefined;
    }
    if (message.kind === "plan") return planModel(platform, message.source, { ...message.options, signal });
    invariant(model, `${message.kind} before load`);
    switch (message.kind) {
      case "chat":
      case "generate": {
        const params = { ...message.params, signal };
        const events =
          message.kind === "chat" ? model.chat(message.input, params) : model.generate(message.input, params);
        for await (const event of events) port.postMessage({ kind: "event", id, event });
        return undefined;
      }
      case "tokenize":
        return model.tokenize(message.input);
      case "detokenize":
        return model.detokenize(message.input);
      case "render":
        return model.render(message.input, message.params);
      case "score":
        return model.score(message.input, { ...message.params, signal });
      case "stats":
        return model.stats();
      case "clearCache":
        return model.clearCache();
      case "host": {
        invariant(hosting, "nobody leans on a page's model");
        const tell = (event: HostEvent) => port.postMessage({ kind: "hosted", id, event });
        return hosting.answer(await model.host(), message.call, tell, signal);
      }
      case "dispose":
        return model.dispose();
    }
  };

  port.addEventListener("message", async ({ data }) => {
    const { id } = data;
    if (data.kind === "abort") {
      aborts.get(id)?.abort();
      return;
    }
    const abort = new AbortController();
    aborts.set(id, abort);
    try {
      port.postMessage({ kind: "done", id, value: await answer(data, abort.signal) });
    } catch (error) {
      port.postMessage({ kind: "error", id, error: packError(error) });
    } finally {
      aborts.delete(id);
    }
  });
}
