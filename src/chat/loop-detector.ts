/** So many tokens must repeat what stood one period before them. */
const LEAST_TOKENS = 192;
/** And so many periods, besides the first. */
const LEAST_PERIODS = 3;
const LONGEST_PERIOD = 1024;

/** Notices when a list of tokens has begun to repeat itself exactly, with any period up to 1,024 tokens. */
export class LoopDetector {
  readonly #tokens: number[] = [];
  /** By period: how many of the last tokens equal the one a period before. */
  readonly #lengths = new Int32Array(LONGEST_PERIOD + 1);

  /** True once the end of the list is a loop. */
  push(token: number): boolean {
    const at = this.#tokens.push(token) - 1;
    let isLoop = false;
    for (let period = 1; period <= Math.min(at, LONGEST_PERIOD); period++) {
      const length = this.#tokens[at - period] === token ? this.#lengths[period] + 1 : 0;
      this.#lengths[period] = length;
      isLoop ||= length >= LEAST_TOKENS && length >= LEAST_PERIODS * period;
    }
    return isLoop;
  }
}
