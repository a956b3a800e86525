/** Fewest tokens of a prompt that are worth a step of their own. */
const MIN_CHUNK = 16;

/**
 * How many times as long as the shortest a chunk may take, where even that takes longer than a decode step: on a large GPU a
 * chunk of 16 tokens takes 30 ms and one of 512 less than three times that, because all experts' weights are read for either.
 */
const TOLERANCE = 3;

/** What one measurement counts against those before it. */
const WEIGHT = 0.3;

/** Time of prompts for that of decode steps: less than as much, so that what goes unnoticed does not double it. */
const SHARE = 0.8;

/**
 * Shares a device between prompts and replies: while replies are being drawn, prompts get SHARE of the time that decode
 * steps do, in chunks that take no longer than one such step where that can be. So a prompt, however long, at most doubles
 * the time between two tokens. Times are measured, never assumed, each from the end of the step before. A decode step after
 * a prefill may take longer than it would alone (it was not submitted ahead, its weights have left a cache), and prompts
 * pay for that. Where more short prompts wait than replies are drawn, they get as many times more: they will be replies soon.
 */
export class Pace {
  readonly #maxChunk: number;
  /** Milliseconds of a step, by its rows rounded up to a power of two. */
  readonly #decodeMs = new Map<number, number>();
  readonly #prefillMs = new Map<number, number>();
  /** What prompts have had more than is theirs; less, where it is negative. */
  #debtMs = 0;
  /** The step before was a prefill. */
  #isDisturbed = false;

  constructor(maxChunk: number) {
    this.#maxChunk = maxChunk;
  }

  /**
   * Tokens that the next prefill step may read while `decoding` replies wait for it: 0 when it is the replies' turn. `short`
   * is the number of prompts that a step could read whole: each of them counts as much as a reply.
   */
  chunk(decoding: number, short = 0): number {
    if (decoding === 0) {
      this.#debtMs = 0;
      return this.#maxChunk;
    }
    if (this.#debtMs > 0) return 0;
    const sizes = this.#sizes();
    if (!this.#prefillMs.has(bucket(sizes[0]))) return sizes[0];
    const shortestMs = this.#expectedMs(bucket(sizes[0]));
    // A step that reads several prompts stops replies for longer, and for less in all.
    const limit = (1 + short / decoding) * Math.max(this.#decodeMs.get(bucket(decoding)) ?? 0, TOLERANCE * shortestMs);
    return sizes.findLast((size) => this.#expectedMs(bucket(size)) <= limit) ?? sizes[0];
  }

  /** Milliseconds to read so many tokens of a prompt, at the best rate that was seen; 0 where none was. */
  readMs(tokens: number): number {
    const rates = [...this.#prefillMs].map(([rows, ms]) => ms / rows);
    return rates.length > 0 ? tokens * Math.min(...rates) : 0;
  }

  /** Milliseconds of a decode step of so many rows; endless where none was seen. */
  decodeMs(rows: number): number {
    return this.#decodeMs.get(bucket(rows)) ?? Number.POSITIVE_INFINITY;
  }

  prefilled(rows: number, ms: number): void {
    this.#debtMs += ms;
    this.#isDisturbed = true;
    learn(this.#prefillMs, bucket(rows), ms);
  }

  decoded(rows: number, ms: number, short = 0): void {
    const key = bucket(rows);
    const isAlone = !this.#isDisturbed || !this.#decodeMs.has(key);
    if (isAlone) learn(this.#decodeMs, key, ms);
    const alone = this.#decodeMs.get(key)!;
    const due = SHARE * weight(short, rows) * alone;
    if (!isAlone) this.#debtMs += ms - alone;
    // What is left of one step counts for the next prefill, no more.
    this.#debtMs = Math.max(-due, this.#debtMs - due);
    this.#isDisturbed = false;
  }

  #sizes(): number[] {
    const sizes: number[] = [];
    for (let size = Math.min(MIN_CHUNK, this.#maxChunk); size < this.#maxChunk; size *= 2) sizes.push(size);
    return [...sizes, this.#maxChunk];
  }

  /**
   * Milliseconds for so many rows: no more than a step of more rows took (the first of a size may have waited for shaders),
   * and else on the line through the two next to it. Nothing is said of what is more than twice the largest seen.
   */
  #expectedMs(rows: number): number {
    const known = [...this.#prefillMs].sort(([a], [b]) => a - b);
    const most = Math.min(...known.filter(([size]) => size >= rows).map(([, ms]) => ms));
    if (this.#prefillMs.has(rows)) return most;
    const smaller = known.filter(([size]) => size < rows);
    const [size, ms] = smaller.at(-1)!;
    const other = known.find(([size]) => size > rows) ?? smaller.at(-2) ?? [0, 0];
    if (most === Number.POSITIVE_INFINITY && rows > 2 * size) return most;
    return Math.min(most, ms + Math.max(0, (other[1] - ms) / (other[0] - size)) * (rows - size));
  }
}

const weight = (short: number, replies: number): number => Math.max(1, short / replies);

const bucket = (rows: number): number => 2 ** Math.ceil(Math.log2(rows));

function learn(times: Map<number, number>, key: number, ms: number): void {
  const before = times.get(key);
  times.set(key, before === undefined ? ms : before + WEIGHT * (ms - before));
}
