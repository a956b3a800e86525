/** Every error a caller can catch. Facts are fields; the message says what happened and what to try. */
export class LLMError extends Error {
  override readonly name: string = "LLMError";
}

/** The checkpoint cannot be read: a file is missing, truncated, corrupt or not what its header says. */
export class CheckpointError extends LLMError {
  override readonly name = "CheckpointError";

  constructor(
    readonly source: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(`${source}: ${message}`, options);
  }
}

/** The checkpoint is sound, but not of an architecture (or with an option) that Sluice runs. */
export class UnsupportedModelError extends LLMError {
  override readonly name = "UnsupportedModelError";
}

/** The adapter cannot run this model, or there is no adapter. */
export class UnsupportedDeviceError extends LLMError {
  override readonly name = "UnsupportedDeviceError";

  constructor(
    readonly adapter: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The device went away (driver reset, GPU unplugged, tab in the background for too long). The next request reloads it. */
export class DeviceLostError extends LLMError {
  override readonly name = "DeviceLostError";

  constructor(readonly reason: string) {
    super(`The GPU device was lost (${reason}). The model is loaded again with the next request.`);
  }
}

/** The device has no room for what was asked. */
export class OutOfMemoryError extends LLMError {
  override readonly name = "OutOfMemoryError";

  constructor(
    readonly requestedBytes: number,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The prompt, alone or with the tokens asked for, is longer than the context. */
export class ContextLengthError extends LLMError {
  override readonly name = "ContextLengthError";

  constructor(
    readonly promptTokens: number,
    readonly maxContext: number,
  ) {
    super(
      `The prompt has ${promptTokens} tokens, and the context holds ${maxContext}. ` +
        "Shorten the prompt, or load the model with a larger maxContext.",
    );
  }
}

/** A request or an option that cannot be carried out as given. */
export class InvalidRequestError extends LLMError {
  override readonly name = "InvalidRequestError";

  constructor(
    /** The option or field at fault. */
    readonly field: string,
    message: string,
  ) {
    super(`${field}: ${message}`);
  }
}

/** Too many requests wait already. Try again a little later. */
export class QueueFullError extends LLMError {
  override readonly name = "QueueFullError";

  constructor(
    readonly waitingRequests: number,
    readonly waitingTokens: number,
  ) {
    super(`${waitingRequests} requests with ${waitingTokens} tokens are waiting already. Try again in a little while.`);
  }
}

/** The model computed something that is not a number; the reply cannot be trusted. */
export class NumericalError extends LLMError {
  override readonly name = "NumericalError";
}

/** A companion cannot be leaned on: it is not reached, refuses this page, or went away and did not come back. */
export class CompanionError extends LLMError {
  override readonly name = "CompanionError";

  constructor(
    /**
     * `unreachable` and `lost` are about the link, before and after it stood; `refused` about key and origin, `version` and
     * `malformed` about what was said; `busy` about limits; `model` about a companion that runs another model, or none.
     */
    readonly reason: "unreachable" | "lost" | "refused" | "version" | "malformed" | "busy" | "model",
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The worker that ran the model ended without an answer. */
export class WorkerError extends LLMError {
  override readonly name = "WorkerError";
}

/** The process that ran a request ended, in the midst of the reply or too often before it began. Ask again. */
export class WorkerLostError extends LLMError {
  override readonly name = "WorkerLostError";

  constructor(
    /** Where it ran. */
    readonly worker: string,
    /** Whether some of the reply had been given already. */
    readonly hasBegun: boolean,
    options?: ErrorOptions,
  ) {
    const what = hasBegun ? "ended in the midst of the reply" : "is not there";
    super(`The process on ${worker} ${what}; it is started again. Ask again in a little while.`, options);
  }
}

/** An assumption of our own was wrong; values belong in the message. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`Sluice is at fault, please report this: ${message}`);
}
