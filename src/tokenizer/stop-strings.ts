import { InvalidRequestError } from "../errors.ts";

/**
 * Finds the first of several stop texts in a text that comes in pieces, wherever the pieces are cut.
 *
 * The stop that is complete first wins; of those complete at the same character, the longest. Text that could still
 * become a stop is held back. An Aho–Corasick automaton: constant work per character for any number of stops, and the
 * depth of its state is the length of the text to hold back.
 */
export class StopStrings {
  readonly #root: State;
  #state: State;
  #held = "";

  constructor(stops: readonly string[]) {
    if (stops.includes("")) throw new InvalidRequestError("stop", "a stop text is empty. Leave it out.");
    this.#root = build(stops);
    this.#state = this.#root;
  }

  /** The text that is safe to show now, and the stop that ends it, once there is one. Push nothing after that. */
  push(piece: string): { readonly text: string; readonly stop?: string } {
    const text = this.#held + piece;
    for (let i = this.#held.length; i < text.length; i++) {
      this.#state = step(this.#state, text.charCodeAt(i));
      const { stop } = this.#state;
      if (stop !== undefined) {
        this.#held = "";
        return { text: text.slice(0, i + 1 - stop.length), stop };
      }
    }
    const safe = text.length - this.#state.depth;
    this.#held = text.slice(safe);
    return { text: text.slice(0, safe) };
  }

  /** What was held back, when the reply ends without a stop. Afterwards the search is as new. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    this.#state = this.#root;
    return text;
  }
}

/** The longest end of the text read so far that begins a stop. */
interface State {
  readonly depth: number;
  readonly next: Map<number, State>;
  /** The state of the next shorter such end; the root has none. */
  fallback?: State;
  /** The longest stop that ends here. */
  stop?: string;
}

function build(stops: readonly string[]): State {
  const root: State = { depth: 0, next: new Map() };
  for (const stop of stops) {
    let state = root;
    for (let i = 0; i < stop.length; i++) {
      const unit = stop.charCodeAt(i);
      if (!state.next.has(unit)) state.next.set(unit, { depth: i + 1, next: new Map() });
      state = state.next.get(unit)!;
    }
    state.stop = stop;
  }
  // Breadth first: a state's fallback is shallower, so it is complete when it is needed.
  const queue = [root];
  for (const state of queue) {
    for (const [unit, child] of state.next) {
      child.fallback = state.fallback ? step(state.fallback, unit) : root;
      child.stop ??= child.fallback.stop;
      queue.push(child);
    }
  }
  return root;
}

function step(from: State, unit: number): State {
  let state: State | undefined = from;
  while (state) {
    const next = state.next.get(unit);
    if (next) return next;
    if (!state.fallback) return state;
    state = state.fallback;
  }
  return from;
}
