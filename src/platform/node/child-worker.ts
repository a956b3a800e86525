import { type ChildProcess, spawn } from "node:child_process";
import { availableParallelism } from "node:os";

export interface ChildOptions {
  /** A built file of this package. */
  readonly script: string;
  /** A command that runs the command behind it, such as one that hides devices from it. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

type Listener = (event: never) => void;

/** A process with the surface of a `Worker`. Whatever ends it, "error" is told once. */
export class ChildWorker<Out, In> {
  readonly #child: ChildProcess;
  readonly #listeners: Record<"message" | "error" | "messageerror", Listener[]> = {
    message: [],
    error: [],
    messageerror: [],
  };
  #hasEnded = false;

  constructor({ script, wrapper = [], env }: ChildOptions) {
    const [command, ...args] = [...wrapper, process.execPath, "--enable-source-maps", script];
    this.#child = spawn(command, args, {
      // Files are read and hashes checked by these threads, of which Node has four.
      env: { UV_THREADPOOL_SIZE: `${Math.max(4, availableParallelism())}`, ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    this.#child.on("message", (data) => this.#tell("message", { data: data as In }));
    this.#child.on("error", ({ message }) => this.#end(message));
    this.#child.on("exit", (code, signal) => this.#end(signal ? `ended by ${signal}` : `ended with code ${code}`));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** @throws DataCloneError for what cannot be cloned */
  postMessage(message: Out): void {
    if (!this.#child.connected) return;
    try {
      this.#child.send(message as object, () => {});
    } catch (error) {
      throw new DOMException((error as Error).message, "DataCloneError");
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: one implementation of all overloads
  addEventListener(type: "message" | "error" | "messageerror", listener: (event: any) => void): void {
    this.#listeners[type].push(listener as Listener);
  }

  /** Ends the process at once; a driver that hangs may keep it for longer, but it is not waited for. */
  terminate(): void {
    this.#child.kill("SIGKILL");
    this.#end("terminated");
  }

  #end(message: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    if (this.#child.connected) this.#child.disconnect();
    this.#tell("error", { message });
  }

  #tell(type: "message" | "error", event: unknown): void {
    for (const listener of this.#listeners[type]) listener(event as never);
  }
}
