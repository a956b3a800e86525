import type { OpenMessage, StepMessage } from "../../companion/protocol.ts";
import { CompanionError } from "../../errors.ts";
import type { LayerHost } from "../../runner/layer-host.ts";
import { LayerState } from "./layer-state.ts";
import { malformed } from "./malformed.ts";

/** How long states outlive their link. */
const ORPHAN_MS = 30_000;

/** A link. */
type Holder = object;

interface Entry {
  readonly client: string;
  readonly bytes: number;
  readonly state: Promise<LayerState>;
  /** Who spoke of it last. */
  holder: Holder;
  orphaned: ReturnType<typeof setTimeout> | undefined;
}

/** States that pages have here, by the names that the pages gave them. They outlive a link that breaks for a while. */
export class LayerStates {
  readonly #maxClientBytes: number;
  readonly #entries = new Map<string, Entry>();

  constructor(maxClientBytes: number) {
    this.#maxClientBytes = maxClientBytes;
  }

  /** @throws CompanionError where the client has too many already, or the device has no room */
  async open(client: string, holder: Holder, host: LayerHost | undefined, message: OpenMessage): Promise<void> {
    const known = () => this.#find(client, holder, message.state)?.state;
    if (known()) return void (await known());
    if (!host) throw new CompanionError("model", "This companion runs no layers for others; it writes whole replies.");
    const { from, to, maxBatchTokens } = message;
    if (from >= to || to > host.count || maxBatchTokens > host.maxBatchTokens) {
      throw malformed(`layers ${from} to ${to} of ${host.count}, in steps of ${maxBatchTokens} tokens.`);
    }
    const bytes = await host.bytes(message);
    // Somebody may have asked meanwhile.
    if (known()) return void (await known());
    this.#makeRoom(client, bytes);
    const state = LayerState.open(host, message).catch((error) => {
      this.#entries.delete(message.state);
      throw new CompanionError("busy", `This companion has no room for the states: ${error.message}`);
    });
    this.#entries.set(message.state, { client, bytes, state, holder, orphaned: undefined });
    await state;
  }

  /** What a step gives back; undefined where nobody knows the state. */
  async step(
    client: string,
    holder: Holder,
    message: StepMessage,
    hidden: Float32Array<ArrayBuffer>,
  ): Promise<Float32Array<ArrayBuffer> | undefined> {
    const entry = this.#find(client, holder, message.state);
    if (!entry) return undefined;
    try {
      return await (await entry.state).take(message, hidden);
    } catch (error) {
      this.#free(message.state);
      if (error instanceof CompanionError) throw error;
      // Whatever it was, the page may open others and read its tokens again.
      return undefined;
    }
  }

  /** A link is gone. The page may come back. */
  leave(holder: Holder): void {
    for (const [name, entry] of this.#entries) {
      if (entry.holder === holder) entry.orphaned ??= setTimeout(() => this.#free(name), ORPHAN_MS).unref();
    }
  }

  /** A link has ended, and its page does not come back. */
  forget(holder: Holder): void {
    for (const [name, entry] of this.#entries) if (entry.holder === holder) this.#free(name);
  }

  dispose(): void {
    for (const name of [...this.#entries.keys()]) this.#free(name);
  }

  #find(client: string, holder: Holder, name: string): Entry | undefined {
    const entry = this.#entries.get(name);
    // To others there is none.
    if (entry?.client !== client) return undefined;
    entry.holder = holder;
    clearTimeout(entry.orphaned);
    entry.orphaned = undefined;
    return entry;
  }

  /** Those whose links are gone make room. */
  #makeRoom(client: string, bytes: number): void {
    const own = () => [...this.#entries].filter(([, entry]) => entry.client === client);
    const used = () => own().reduce((sum, [, entry]) => sum + entry.bytes, bytes);
    for (const [name, { orphaned }] of own()) {
      if (orphaned && used() > this.#maxClientBytes) this.#free(name);
    }
    if (used() <= this.#maxClientBytes) return;
    const megabytes = [bytes, used() - bytes, this.#maxClientBytes].map((count) => Math.ceil(count / 1e6));
    throw new CompanionError(
      "busy",
      `The states would take ${megabytes[0]} MB at the companion beside ${megabytes[1]} MB, of ${megabytes[2]} MB for each key. ` +
        "Ask for a smaller maxContext, cacheTokens or maxSequences.",
    );
  }

  #free(name: string): void {
    const entry = this.#entries.get(name);
    if (!entry) return;
    clearTimeout(entry.orphaned);
    this.#entries.delete(name);
    entry.state.then((state) => state.dispose()).catch(() => {});
  }
}
