/** Where a prompt can go on from: so many of its tokens are in the state already. */
export interface Match {
  readonly length: number;
  /** The slot that holds the recurrent state after them; undefined for the live one, or for none at length 0. */
  readonly snapshot?: number;
}

/**
 * What the state of one sequence contains, by its exact tokens. The KV cache can be cut at any length, a recurrent state
 * cannot: it is only good for the very tokens it has read. So copies of it are kept at chosen lengths. A snapshot counts
 * as long as the KV cache still holds the tokens before it.
 */
export class PrefixCache {
  /** Tokens of the KV cache, position by position; the live state has read exactly these. */
  #tokens: number[] = [];
  /** Longest unused first. */
  #snapshots: { length: number; slot: number }[] = [];
  readonly #freeSlots: number[];

  /** @param slots free for snapshots */
  constructor(slots: readonly number[]) {
    this.#freeSlots = [...slots];
  }

  get length(): number {
    return this.#tokens.length;
  }

  /** The longest state that is a prefix of `prompt` and leaves at least one token to read. */
  match(prompt: ArrayLike<number>): Match {
    const common = this.#commonLength(prompt);
    if (this.#tokens.length <= common) return { length: this.#tokens.length };
    const fitting = this.#snapshots.filter(({ length }) => length <= common);
    if (fitting.length === 0) return { length: 0 };
    const best = fitting.reduce((a, b) => (b.length > a.length ? b : a));
    return { length: best.length, snapshot: best.slot };
  }

  /** Forgets everything after `length`; the live state is taken to be there now. */
  cut(length: number): void {
    this.#tokens.length = length;
    for (const gone of this.#snapshots.filter((s) => s.length > length)) this.#freeSlots.push(gone.slot);
    this.#snapshots = this.#snapshots.filter((s) => s.length <= length);
    for (const used of this.#snapshots.filter((s) => s.length === length)) this.#touch(used);
  }

  /** The live state has read these tokens. */
  append(tokens: ArrayLike<number>): void {
    for (let i = 0; i < tokens.length; i++) this.#tokens.push(tokens[i]);
  }

  /**
   * A slot to copy the live state to, which then counts as the snapshot at the present length; the one unused longest
   * makes room. Undefined where there is nothing to gain: one is there already, or there are no slots.
   */
  snapshot(): number | undefined {
    const { length } = this.#tokens;
    if (length === 0 || this.#snapshots.some((s) => s.length === length)) return undefined;
    const slot = this.#freeSlots.pop() ?? this.#snapshots.shift()?.slot;
    if (slot !== undefined) this.#snapshots.push({ length, slot });
    return slot;
  }

  /** Nothing is known of the state any more. */
  clear(): void {
    this.cut(0);
  }

  #touch(snapshot: { length: number; slot: number }): void {
    this.#snapshots = [...this.#snapshots.filter((s) => s !== snapshot), snapshot];
  }

  #commonLength(prompt: ArrayLike<number>): number {
    const limit = Math.min(this.#tokens.length, prompt.length - 1);
    let length = 0;
    while (length < limit && this.#tokens[length] === prompt[length]) length++;
    return length;
  }
}
