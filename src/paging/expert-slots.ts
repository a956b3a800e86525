/** An expert that is not on the device; in a table, and among the chosen of a report, no expert at all. */
export const MISSING = 0xffffffff;

/** Which experts of one layer lie in which slots, and which has been out of use longest. */
export class ExpertSlots {
  /** [experts]: slot or MISSING, as the device has it. */
  readonly table: Uint32Array<ArrayBuffer>;
  /** [slots]: expert or MISSING. */
  readonly #expertIn: Uint32Array;
  /** [slots]: when it was last used. */
  readonly #usedAt: Float64Array;
  #clock = 0;

  constructor(experts: number, slots: number) {
    this.table = new Uint32Array(experts).fill(MISSING);
    this.#expertIn = new Uint32Array(slots).fill(MISSING);
    this.#usedAt = new Float64Array(slots);
  }

  get count(): number {
    return this.#expertIn.length;
  }

  /** Slots that nothing lies in. */
  get free(): number {
    return this.#expertIn.reduce((count, expert) => count + Number(expert === MISSING), 0);
  }

  has(expert: number): boolean {
    return this.table[expert] !== MISSING;
  }

  /** Marks an expert as just used. */
  touch(expert: number): void {
    if (this.has(expert)) this.#usedAt[this.table[expert]] = ++this.#clock;
  }

  /** [experts]: 0 for one without a slot, else from 255 (used last) towards 1, halved with each use of as many experts as there are slots. */
  recency(): Uint8Array {
    const level = (slot: number) => 255 * 2 ** ((this.#usedAt[slot] - this.#clock) / this.count);
    return Uint8Array.from(this.table, (slot) => (slot === MISSING ? 0 : Math.max(1, level(slot))));
  }

  /** The slot that `expert` shall have: an empty one, or that of the expert out of use longest. None in `keep` goes. */
  take(expert: number, keep: ReadonlySet<number>): { slot: number; evicted: number } | undefined {
    let slot = -1;
    for (let s = 0; s < this.count; s++) {
      const isFree = !keep.has(this.#expertIn[s]);
      if (isFree && (slot < 0 || this.#usedAt[s] < this.#usedAt[slot])) slot = s;
    }
    if (slot < 0) return undefined;
    const evicted = this.#expertIn[slot];
    if (evicted !== MISSING) this.table[evicted] = MISSING;
    this.#expertIn[slot] = expert;
    this.table[expert] = slot;
    this.#usedAt[slot] = ++this.#clock;
    return { slot, evicted };
  }
}
