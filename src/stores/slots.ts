/**
 * Lets some pieces of work run at once and bounds the memory that they take. Urgent ones go first, and some slots are
 * kept for them, so that what is awaited never stands behind what is only useful.
 */
export class Slots {
  readonly #limit: number;
  readonly #reserved: number;
  #taken = 0;
  readonly #urgent: (() => void)[] = [];
  readonly #patient: (() => void)[] = [];

  constructor(limit: number, reserved: number) {
    this.#limit = limit;
    this.#reserved = reserved;
  }

  async take(isUrgent: boolean): Promise<void> {
    if (this.#isFree(isUrgent)) {
      this.#taken++;
      return;
    }
    await new Promise<void>((resolve) => (isUrgent ? this.#urgent : this.#patient).push(resolve));
  }

  give(): void {
    this.#taken--;
    const next = (this.#isFree(true) && this.#urgent.shift()) || (this.#isFree(false) && this.#patient.shift());
    if (!next) return;
    this.#taken++;
    next();
  }

  #isFree(isUrgent: boolean): boolean {
    return this.#taken < this.#limit - (isUrgent ? 0 : this.#reserved);
  }
}
