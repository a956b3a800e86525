import {
  CheckpointError,
  CompanionError,
  ContextLengthError,
  DeviceLostError,
  InvalidRequestError,
  NumericalError,
  OutOfMemoryError,
  UnsupportedDeviceError,
  UnsupportedModelError,
  WorkerError,
} from "sluice";

/** An error as plain data, so that a conversation can keep it. */
export interface Problem {
  readonly kind: string;
  readonly message: string;
}

export type Remedy = "retry" | "disconnect" | "edit" | "reload-model" | "choose-model" | "new-chat" | "settings";

export interface Explanation {
  readonly title: string;
  /** What to try, beyond what the error's own message says. */
  readonly advice: string;
  readonly remedies: readonly Remedy[];
}

export function problemOf(error: unknown): Problem {
  const known = kinds.find(({ type }) => error instanceof type);
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CompanionError) return { kind: `CompanionError.${error.reason}`, message };
  return { kind: known?.name ?? "Error", message };
}

export function explain(problem: Problem): Explanation {
  const known = kinds.find(({ name }) => name === problem.kind);
  return known ?? ofCompanions[problem.kind.replace("CompanionError.", "")] ?? unexpected;
}

// Names are written out: a minified class has none worth keeping.
const kinds = [
  {
    type: DeviceLostError,
    name: "DeviceLostError",
    title: "The graphics device went away",
    advice: "Usually a driver restart, sleep, or another program that took the GPU. Nothing you wrote is lost.",
    remedies: ["reload-model", "retry"],
  },
  {
    type: OutOfMemoryError,
    name: "OutOfMemoryError",
    title: "Not enough graphics memory",
    advice:
      "Choose a smaller memory budget, a shorter context or a smaller weight format (q4) under Model, close other tabs that use the GPU, or take a smaller model.",
    remedies: ["choose-model"],
  },
  {
    type: ContextLengthError,
    name: "ContextLengthError",
    title: "This conversation no longer fits",
    advice: "Or go on in a new chat; this one stays as it is. A longer context is among the model's options.",
    remedies: ["new-chat", "edit", "choose-model"],
  },
  {
    type: WorkerError,
    name: "WorkerError",
    title: "The model's worker stopped",
    advice: "The browser may have ended it to free memory. Loading the model again starts another.",
    remedies: ["reload-model"],
  },
  {
    type: CheckpointError,
    name: "CheckpointError",
    title: "These files cannot be read",
    advice:
      "A model is a folder with config.json, tokenizer.json and .safetensors files, one that `sluice pack` made, or a .gguf; all files complete. For a private or gated one of the Hub, give an access token under Model.",
    remedies: ["choose-model"],
  },
  {
    type: UnsupportedModelError,
    name: "UnsupportedModelError",
    title: "Sluice does not run this model",
    advice: "It runs the Qwen3-Next family: qwen3_next, qwen3_5 and qwen3_5_moe.",
    remedies: ["choose-model"],
  },
  {
    type: UnsupportedDeviceError,
    name: "UnsupportedDeviceError",
    title: "This graphics device cannot run the model",
    advice: "Try a smaller model, or another browser; on a laptop with two GPUs, let the browser use the faster one.",
    remedies: ["choose-model"],
  },
  {
    type: InvalidRequestError,
    name: "InvalidRequestError",
    title: "A setting cannot be used",
    advice: "Put it back to the model's default and try again.",
    remedies: ["settings", "retry"],
  },
  {
    type: NumericalError,
    name: "NumericalError",
    title: "The model computed something that is not a number",
    advice:
      "The reply was dropped, as it could not be trusted. Load the model again; if it happens twice, choose f32 under Model.",
    remedies: ["reload-model", "retry"],
  },
] as const;

/** By the error's reason; `address` and `mixed` are found by the page itself. */
const ofCompanions: Readonly<Record<string, Explanation>> = {
  address: { title: "That is no address of a companion", advice: "", remedies: ["choose-model"] },
  mixed: { title: "The browser would not let this page go there", advice: "", remedies: ["choose-model"] },
  unreachable: { title: "The companion is not reached", advice: "", remedies: ["choose-model"] },
  lost: {
    title: "The link to the companion broke",
    advice: "What was written so far is kept. Try again to make it anew, or go on without it.",
    remedies: ["retry", "disconnect"],
  },
  refused: {
    title: "The companion refuses this page",
    advice: "Whoever runs it can give you a key, and let pages of this address in.",
    remedies: ["choose-model"],
  },
  version: {
    title: "The companion is of another version",
    advice: "Where that is this page, reload it.",
    remedies: ["choose-model"],
  },
  malformed: {
    title: "What answers there is no companion",
    advice: "Look whether address and port are right.",
    remedies: ["choose-model"],
  },
  busy: {
    title: "The companion has no room",
    advice: "Try again in a little while.",
    remedies: ["retry", "disconnect"],
  },
  model: {
    title: "The companion has another model",
    advice: "Both sides need the same one.",
    remedies: ["choose-model"],
  },
};

const unexpected: Explanation = {
  title: "Something went wrong",
  advice: "This is likely a mistake of ours. Try again, or load the model again.",
  remedies: ["retry", "reload-model"],
};
