import type { ModelRunner } from "../runner/model-runner.ts";
import type { StageMessage, StageWork } from "./messages.ts";

/** Idle for so long, a device has time for other work before the next step. */
const LONG_MS = 0.6;

/**
 * Some of a model's layers, one after another, on one device. What comes takes effect in its order and goes on in its order;
 * while a step computes, the next is submitted already.
 */
export class Stage {
  readonly #runner: ModelRunner;
  readonly #isLast: boolean;
  readonly #send: (message: StageMessage) => void;
  readonly #staysAwake: boolean;
  #sent: Promise<void> = Promise.resolve();
  #underWay = 0;
  /** When nothing was under way any more, and for how long that was the last time. */
  #idleSince = 0;
  #idleMs = 0;

  /** With `staysAwake`, the device is given something to do where it would idle for long between two steps. */
  constructor(
    runner: ModelRunner,
    isLast: boolean,
    send: (message: StageMessage) => void,
    { staysAwake = false }: { readonly staysAwake?: boolean } = {},
  ) {
    this.#runner = runner;
    this.#isLast = isLast;
    this.#send = send;
    this.#staysAwake = staysAwake;
  }

  receive(message: StageMessage): void {
    switch (message.kind) {
      case "prefill":
      case "decode":
      case "score": {
        const { id } = message;
        const done = this.#run(message).catch(
          (error: Error): StageMessage => ({ kind: "failed", id, message: error.message }),
        );
        if (this.#underWay++ === 0) this.#idleMs = performance.now() - this.#idleSince;
        this.#forward(done, () => this.#end());
        return;
      }
      case "copyState":
        this.#runner.copyState(message.from, message.to);
        break;
      case "copyBlock":
        this.#runner.copyBlock(message.from, message.to);
        break;
      case "setSampling":
        if (this.#isLast) this.#runner.setSampling(message.slot, message.sampling, message.prompt, message.reply);
        break;
      default:
    }
    if (!this.#isLast || message.kind === "failed" || message.kind === "drawn") this.#forward(message);
  }

  async #run(work: StageWork): Promise<StageMessage> {
    if (!this.#isLast) return { ...work, hidden: await this.#runner.pass(batchOf(work)) };
    const { id, hidden } = work;
    switch (work.kind) {
      case "prefill": {
        const steps = work.steps.map((step, i) => (work.masks?.[i] ? { ...step, mask: () => work.masks![i] } : step));
        return { kind: "drawn", id, sampled: await this.#runner.prefill(steps, hidden) };
      }
      case "decode": {
        const rows = work.rows.map((row, i) => (work.masks?.[i] ? { ...row, mask: () => work.masks![i] } : row));
        return { kind: "drawn", id, sampled: await this.#runner.decode(rows, hidden) };
      }
      case "score":
        return { kind: "scored", id, logits: (await this.#runner.score(work.step, false, hidden)).logits };
    }
  }

  /** A step was handed on: what can be done for the next one is done now. */
  #end(): void {
    if (--this.#underWay === 0) this.#idleSince = performance.now();
    this.#runner.encodeAhead();
    if (this.#staysAwake && this.#underWay === 0 && this.#idleMs > LONG_MS) this.#runner.keepAwake();
  }

  #forward(message: StageMessage | Promise<StageMessage>, then = () => {}): void {
    this.#sent = this.#sent.then(async () => {
      this.#send(await message);
      then();
    });
    // The link is gone, and with it whoever could be told.
    this.#sent.catch(() => {});
  }
}

function batchOf(work: StageWork) {
  const { hidden } = work;
  switch (work.kind) {
    case "prefill":
      return { kind: "prefill", steps: work.steps, hidden } as const;
    case "decode":
      return { kind: "decode", steps: work.rows.map((row) => ({ ...row, tokens: [row.token!] })), hidden } as const;
    case "score":
      return { kind: "prefill", steps: [work.step], hidden } as const;
  }
}
