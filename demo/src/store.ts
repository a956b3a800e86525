import { useLayoutEffect, useReducer, useRef } from "preact/hooks";

/** A value that can be watched. */
export class Store<State extends object> {
  #state: State;
  readonly #listeners = new Set<() => void>();

  constructor(state: State) {
    this.#state = state;
  }

  get state(): State {
    return this.#state;
  }

  set(change: Partial<State> | ((state: State) => Partial<State>)): void {
    this.#state = { ...this.#state, ...(typeof change === "function" ? change(this.#state) : change) };
    for (const listener of this.#listeners) listener();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** Draws again when what `select` picks has become another value. */
export function useStore<State extends object, T>(store: Store<State>, select: (state: State) => T): T {
  const [, drawAgain] = useReducer((n: number, _: undefined) => n + 1, 0);
  const selected = select(store.state);
  const drawn = useRef({ select, selected });
  drawn.current = { select, selected };

  useLayoutEffect(() => {
    const check = () => {
      const { select, selected } = drawn.current;
      if (!Object.is(select(store.state), selected)) drawAgain(undefined);
    };
    check();
    return store.subscribe(check);
  }, [store]);

  return selected;
}
