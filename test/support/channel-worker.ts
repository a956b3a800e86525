import type { Platform } from "../../src/api/platform.ts";
import type { Port, ToPage, ToWorker } from "../../src/api/port.ts";
import type { ModelWorker } from "../../src/api/remote-llm.ts";
import { serveLLM } from "../../src/api/serve-llm.ts";

/** A worker's two ends in one thread: what is posted is cloned as between threads. */
export class ChannelWorker implements ModelWorker {
  readonly #channel = new MessageChannel();
  readonly #deaths: ((event: { readonly message?: string }) => void)[] = [];
  /** What the page has sent. */
  readonly sent: ToWorker[] = [];
  isTerminated = false;

  constructor(platform: Platform) {
    const { port1, port2 } = this.#channel;
    serveLLM(port2 as unknown as Port<ToPage, ToWorker>, platform);
    port1.start();
    port2.start();
  }

  postMessage(message: ToWorker): void {
    this.#channel.port1.postMessage(message);
    this.sent.push(message);
  }

  // biome-ignore lint/suspicious/noExplicitAny: one implementation of both overloads
  addEventListener(type: "message" | "error" | "messageerror", listener: (event: any) => void): void {
    if (type === "message") this.#channel.port1.addEventListener("message", listener);
    else if (type === "error") this.#deaths.push(listener);
  }

  terminate(): void {
    this.isTerminated = true;
    this.#channel.port1.close();
  }

  /** Ends without an answer, as a worker does that runs out of memory. */
  die(message: string): void {
    this.#channel.port1.close();
    for (const died of this.#deaths) died({ message });
  }
}
