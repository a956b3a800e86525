import type { GenerationEvent } from "sluice";
import type { Call, Round } from "./conversation.ts";
import { runCall } from "./tools.ts";

type PartEvent = Extract<GenerationEvent, { kind: "reasoning" | "text" | "toolCall" }>;

/** One round of a reply, as it is being written. */
export class GrowingRound {
  #thoughts = "";
  #thinkingFrom = 0;
  #thinkingMs = 0;
  #text = "";
  /** By the index that the model gave them. */
  readonly #calls = new Map<number, Call>();

  take(event: PartEvent): void {
    const now = performance.now();
    if (event.kind === "reasoning") {
      this.#thinkingFrom ||= now;
      this.#thinkingMs = now - this.#thinkingFrom;
      this.#thoughts += event.text;
    } else if (event.kind === "text") {
      this.#text += event.text;
    } else if (event.isWithdrawn) {
      this.#calls.delete(event.index);
    } else {
      const { id, name = "", arguments: before = "" } = this.#calls.get(event.index) ?? {};
      this.#calls.set(event.index, {
        id: id ?? event.id,
        name: event.name ?? name,
        arguments: before + event.argumentsDelta,
      });
    }
  }

  now(): Round {
    const thoughts = this.#thoughts === "" ? undefined : { text: this.#thoughts, ms: this.#thinkingMs };
    return { thoughts, text: this.#text, calls: [...this.#calls.values()] };
  }

  /** Runs the calls. */
  withResults(): Round {
    const round = this.now();
    return { ...round, calls: round.calls.map((call) => ({ ...call, result: runCall(call) })) };
  }
}
