import { invariant, QueueFullError } from "../errors.ts";
import { type RunnerLimits, scoreTokens } from "./runner.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceStates } from "./sequence-states.ts";

export interface QueueLimits {
  /** Requests that may wait. */
  readonly maxWaiting: number;
  /** Tokens of their prompts in all. */
  readonly maxWaitingTokens: number;
}

/** What a prefill step reads of one sequence: tokens from its position up to `end`. */
export interface Chunk {
  readonly sequence: Sequence;
  readonly end: number;
}

/** Decides who runs: by age, as far as slots and blocks go. It touches no device but through the states. */
export class Scheduler {
  /** By age. */
  readonly waiting: Sequence[] = [];
  /** By age. */
  readonly running: Sequence[] = [];
  preempted = 0;
  readonly #states: SequenceStates;
  readonly #limits: RunnerLimits;
  readonly #queue: QueueLimits;
  #isOldestsTurn = false;

  constructor(states: SequenceStates, limits: RunnerLimits, queue: QueueLimits) {
    this.#states = states;
    this.#limits = limits;
    this.#queue = queue;
  }

  get decoding(): Sequence[] {
    return this.running.filter((one) => one.status === "decode" && !one.isLeaving && !one.isMaskPending);
  }

  get prefilling(): Sequence[] {
    return this.running.filter((one) => one.status === "prefill" && one.position < readableEnd(one));
  }

  /** @throws QueueFullError */
  enqueue(sequence: Sequence): void {
    const { maxWaiting, maxWaitingTokens } = this.#queue;
    // Those that a slot is free for do not count.
    const freeSlots = this.#limits.maxSequences - this.running.length;
    const queued = this.waiting.slice(freeSlots);
    const tokens = queued.reduce((sum, { promptLength }) => sum + promptLength, 0);
    const isTooLong = queued.length > 0 && tokens + sequence.promptLength > maxWaitingTokens;
    if (this.waiting.length >= freeSlots && (queued.length >= maxWaiting || isTooLong)) {
      throw new QueueFullError(queued.length, tokens);
    }
    insertByAge(this.waiting, sequence);
  }

  /**
   * Lets those run that there is room for, the oldest first: nobody overtakes one that waits for blocks. Who has its beginning
   * in common with a prompt that is being read waits for the state of that, where this is faster, and lets others by.
   */
  admit(): Sequence[] {
    const admitted: Sequence[] = [];
    for (const next of [...this.waiting]) {
      if (this.running.length === this.#limits.maxSequences) break;
      if (this.#hasLeader(next)) continue;
      // Who is running goes on for a while before it is preempted for lack of a block.
      const reserve = 2 * this.running.length;
      if (!this.#states.begin(next, reserve)) break;
      this.waiting.splice(this.waiting.indexOf(next), 1);
      next.status = "prefill";
      insertByAge(this.running, next);
      admitted.push(next);
    }
    invariant(this.running.length > 0 || this.waiting.length === 0, "a request alone has no room");
    return admitted;
  }

  /**
   * The next prefill step, of `room` tokens at most. Its first part is in turns of the oldest, and of the one that has
   * least left: so that short prompts get through, and long ones do not starve.
   */
  chunks(room: number): Chunk[] {
    this.#isOldestsTurn = !this.#isOldestsTurn;
    const candidates = this.prefilling;
    if (!this.#isOldestsTurn) candidates.sort((a, b) => a.unread - b.unread);
    const chunks: Chunk[] = [];
    // Steps that give all logits are of another kind, and of one sequence.
    const isScored = candidates[0]?.request.score !== undefined;
    if (isScored) room = Math.min(room, scoreTokens(this.#limits));
    const alike = isScored ? candidates.slice(0, 1) : candidates.filter(({ request }) => !request.score);
    for (const sequence of alike.slice(0, this.#limits.maxPrefillSequences)) {
      if (room === 0) break;
      const { position, cuts } = sequence;
      const stop = cuts.find((cut) => cut > position) ?? Number.POSITIVE_INFINITY;
      const end = Math.min(position + room, stop, readableEnd(sequence));
      chunks.push({ sequence, end });
      room -= end - position;
    }
    return chunks;
  }

  /** Makes sure that everyone can draw one more token; who came last makes room. No decode step may be under way. */
  makeRoom(): void {
    for (const sequence of this.decoding) {
      while (sequence.status === "decode" && !this.#states.grow(sequence, sequence.tokens.length)) {
        this.preempted++;
        this.requeue(this.running.findLast(({ isLeaving }) => !isLeaving)!);
      }
    }
  }

  #hasLeader(sequence: Sequence): boolean {
    const { leader, request, age } = sequence;
    if (request.score) return false;
    if (leader && leader.sequence.epoch === leader.epoch && leader.sequence.status === "prefill") return true;
    const found = this.running.find((other) => {
      if (other.status !== "prefill" || other.age > age) return false;
      const saved = this.#states.savedBy(other, sequence);
      // Side by side, the two would take turns.
      return saved > 0 && other.unread <= sequence.tokens.length + saved;
    });
    sequence.leader = found && { sequence: found, epoch: found.epoch };
    return found !== undefined;
  }

  /** Takes everything but its tokens from a sequence, and lets it wait for its turn. */
  requeue(sequence: Sequence): void {
    this.remove(sequence);
    sequence.status = "waiting";
    insertByAge(this.waiting, sequence);
  }

  /** Ends a sequence. With `isSound`, its state is left behind for others. */
  remove(sequence: Sequence, isSound = false): void {
    const list = sequence.status === "waiting" ? this.waiting : this.running;
    list.splice(list.indexOf(sequence), 1);
    if (isSound) this.#states.end(sequence);
    else this.#states.drop(sequence);
    sequence.status = "done";
    sequence.epoch++;
    sequence.ahead = 0;
  }
}

/** After its last token it draws, which has to wait for a mask. */
const readableEnd = ({ tokens, isMaskPending }: Sequence): number => tokens.length - (isMaskPending ? 1 : 0);

function insertByAge(list: Sequence[], sequence: Sequence): void {
  const at = list.findIndex(({ age }) => age > sequence.age);
  list.splice(at < 0 ? list.length : at, 0, sequence);
}
