import { expect } from "vitest";
import {
  type DecodeRow,
  type ResolvedSampling,
  type Runner,
  type Sampled,
  type SequenceStep,
  StatesLost,
  type StateTransfer,
} from "../../src/engine/runner.ts";

export interface FakeRunnerOptions {
  /** Called before every step; throws or gives "nan" to make it fail. "lost" spoils all states. */
  readonly trouble?: () => "nan" | "lost" | undefined;
  /** Resolves when a step may run. */
  readonly delay?: (kind: "prefill" | "decode", rows: number) => Promise<void>;
  readonly maxContext?: number;
  readonly maxBatchTokens?: number;
  readonly maxSequences?: number;
  readonly slots?: number;
  readonly blocks?: number;
}

const BLOCK_TOKENS = 4;

/**
 * A model that is a hash of what is really in its states: each token read mixes the recurrent state with all of the KV
 * cache before it, found through the block table, and nothing is ever cleared. So a reply is right only if every slot,
 * block and row was; any mix-up gives other tokens.
 */
export class FakeRunner implements Runner {
  readonly limits;
  isLost = false;
  readonly #options: FakeRunnerOptions;
  readonly #states: number[];
  /** [block · BLOCK_TOKENS + position in it] */
  readonly #kv: number[];
  readonly #drawers: { sampling: ResolvedSampling; drawn: number; counts: number; mask?: Uint32Array }[] = [];
  /** The rows that a decode step without tokens goes on from. */
  #rows: { slot: number; position: number; token: number | undefined }[] = [];
  /** Slots whose next tokens become NaN. */
  readonly #trouble = new Set<number>();
  #areLost = false;
  #last: Promise<unknown> = Promise.resolve();
  /** Tokens read by prefills. */
  prefilled = 0;
  /** Decode steps all of whose replies had ended. */
  idleSteps = 0;
  steps = 0;
  largestBatch = 0;
  running = 0;
  /** Tokens of prefill steps, by how many replies were being drawn. */
  readonly log: { kind: "prefill" | "decode"; rows: number; sequences: number }[] = [];

  constructor(options: FakeRunnerOptions = {}) {
    const { maxContext = 64, maxBatchTokens = 5, maxSequences = 1, slots = maxSequences + 2 } = options;
    const blocks = options.blocks ?? Math.ceil(maxContext / BLOCK_TOKENS) + 1;
    this.#options = options;
    const maxPrefillSequences = Math.min(maxSequences, 3);
    this.limits = {
      ...{ maxContext, maxBatchTokens, maxSequences, maxPrefillSequences },
      ...{ slots, blockTokens: BLOCK_TOKENS, blocks, vocabularySize: VOCABULARY },
    };
    this.#states = Array.from({ length: slots }, (_, i) => mix(99, i));
    this.#kv = Array.from({ length: blocks * BLOCK_TOKENS }, (_, i) => mix(98, i));
  }

  setSampling(
    slot: number,
    sampling: ResolvedSampling,
    _prompt: ArrayLike<number>,
    reply: ArrayLike<number> = [],
  ): void {
    const counts = countsOf(Array.from(reply));
    const drawn = reply.length;
    void this.#later(() => {
      this.#drawers[slot] = { sampling, drawn, counts };
    });
  }

  prefill(steps: readonly SequenceStep[]): Promise<readonly (Sampled | undefined)[]> {
    const rows = steps.reduce((sum, { tokens }) => sum + tokens.length, 0);
    expect(rows).toBeLessThanOrEqual(this.limits.maxBatchTokens);
    expect(steps.length).toBeLessThanOrEqual(this.limits.maxPrefillSequences);
    const copies = steps.map((step) => ({ ...step, tokens: Array.from(step.tokens), blocks: Array.from(step.blocks) }));
    this.log.push({ kind: "prefill", rows, sequences: steps.length });
    return this.#later(async () => {
      await this.#begin("prefill", copies);
      this.prefilled += rows;
      const results = copies.map((step) => {
        this.#read(step);
        return step.sample ? this.#draw(step, step.position + step.tokens.length - 1) : undefined;
      });
      this.#rows = [];
      return results;
    });
  }

  decode(rows: readonly DecodeRow[]): Promise<readonly (Sampled | undefined)[]> {
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.length).toBeLessThanOrEqual(this.limits.maxSequences);
    const copies = rows.map((row) => ({ ...row, blocks: Array.from(row.blocks) }));
    this.log.push({ kind: "decode", rows: rows.length, sequences: rows.length });
    this.largestBatch = Math.max(this.largestBatch, rows.length);
    return this.#later(async () => {
      await this.#begin("decode", copies);
      const known = copies.findIndex(({ token }) => token !== undefined);
      const kept = known < 0 ? copies.length : known;
      const coming = copies.slice(kept);
      expect(coming.every(({ token }) => token !== undefined)).toBe(true);
      this.#rows = [
        ...this.#rows.slice(0, kept),
        ...coming.map(({ slot, position, token }) => ({ slot, position, token })),
      ];
      expect(this.#rows.map(({ slot }) => slot)).toEqual(copies.map(({ slot }) => slot));
      if (this.#rows.every(({ token }) => token === undefined)) this.idleSteps++;
      return copies.map((row, i) => {
        const { token, position } = this.#rows[i];
        if (token === undefined) return undefined;
        expect(row.position).toBe(position);
        this.#read({ ...row, tokens: [token] });
        const sampled = this.#draw(row, position);
        this.#rows[i] = { slot: row.slot, position: position + 1, token: sampled.isLast ? undefined : sampled.token };
        return sampled;
      });
    });
  }

  /** Logits are all 0 but for the token that a greedy draw would give. */
  score(step: SequenceStep): Promise<{ logits: Float32Array }> {
    const { length } = step.tokens;
    expect(length).toBeLessThanOrEqual(this.limits.maxBatchTokens);
    const copy = { ...step, tokens: Array.from(step.tokens), blocks: Array.from(step.blocks) };
    this.log.push({ kind: "prefill", rows: length, sequences: 1 });
    return this.#later(async () => {
      await this.#begin("prefill", [copy]);
      const logits = new Float32Array(length * VOCABULARY);
      copy.tokens.forEach((token, i) => {
        const position = step.position + i;
        this.#read({ ...copy, tokens: [token], position });
        const state = this.#states[step.slot];
        const fold = this.#fold(copy, position + 1);
        const isSound = Number.isFinite(state) && Number.isFinite(fold);
        logits[i * VOCABULARY + (isSound ? mix(state, fold) % VOCABULARY : 0)] = isSound ? 1 : Number.NaN;
      });
      this.#rows = [];
      return { logits };
    });
  }

  reset(): void {
    void this.#later(() => {
      this.#areLost = false;
    });
  }

  copyState(from: number, to: number): void {
    void this.#later(() => {
      this.#states[to] = this.#states[from];
    });
  }

  copyBlock(from: number, to: number): void {
    void this.#later(() => {
      for (let i = 0; i < BLOCK_TOKENS; i++) this.#kv[to * BLOCK_TOKENS + i] = this.#kv[from * BLOCK_TOKENS + i];
    });
  }

  readonly transfer: StateTransfer = {
    slotBytes: 8,
    blockBytes: 8 * BLOCK_TOKENS,
    download: (slot, blocks) => {
      const wanted = [...blocks];
      return this.#later(() => ({
        slot: bytesOf([this.#states[slot]]),
        blocks: wanted.map((block) => bytesOf(this.#kv.slice(block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS))),
      }));
    },
    upload: (state, blocks) => {
      const coming = [...blocks];
      void this.#later(() => {
        [this.#states[state.slot]] = new Float64Array(state.bytes.buffer);
        for (const { block, bytes } of coming) {
          new Float64Array(bytes.buffer).forEach((value, i) => {
            this.#kv[block * BLOCK_TOKENS + i] = value;
          });
        }
      });
    },
  };

  dispose(): void {}

  /** Lets time pass, and trouble come. */
  async #begin(
    kind: "prefill" | "decode",
    steps: readonly (Pick<SequenceStep, "slot" | "blocks"> & Partial<Pick<SequenceStep, "tokens">>)[],
  ): Promise<void> {
    this.steps++;
    expect(new Set(steps.map(({ slot }) => slot)).size, "slots of a step").toBe(steps.length);
    const rows = steps.reduce((sum, { tokens }) => sum + (tokens?.length ?? 1), 0);
    await this.#options.delay?.(kind, rows);
    try {
      const trouble = this.#options.trouble?.();
      if (trouble === "nan") this.#trouble.add(steps[0].slot);
      if (trouble === "lost") this.#spoil();
      if (this.#areLost) throw new StatesLost();
    } catch (error) {
      // Nobody knows how far it came.
      for (const { slot } of steps) this.#states[slot] = mix(97, slot);
      this.#rows = kind === "decode" ? steps.map(({ slot }) => ({ slot, position: 0, token: undefined })) : [];
      throw error;
    }
  }

  #spoil(): void {
    this.#areLost = true;
    this.#states.forEach((_, i) => {
      this.#states[i] = mix(96, i);
    });
    this.#kv.forEach((_, i) => {
      this.#kv[i] = mix(95, i);
    });
  }

  #at({ blocks }: Pick<SequenceStep, "blocks">, position: number): number {
    if (position >= blocks.length * BLOCK_TOKENS) throw new Error(`no block for position ${position}`);
    return blocks[Math.floor(position / BLOCK_TOKENS)] * BLOCK_TOKENS + (position % BLOCK_TOKENS);
  }

  #fold(step: Pick<SequenceStep, "blocks">, length: number): number {
    let fold = 0;
    for (let p = 0; p < length; p++) fold += weigh(this.#kv[this.#at(step, p)], p);
    return fold;
  }

  #read(step: SequenceStep): void {
    const { slot, position, tokens } = step;
    expect(slot).toBeLessThan(this.limits.maxSequences);
    expect(position + tokens.length).toBeLessThanOrEqual(this.limits.maxContext);
    // A slot needs no clearing.
    const isSpoilt = this.#trouble.delete(slot);
    let fold = isSpoilt ? Number.NaN : this.#fold(step, position);
    for (let i = 0; i < tokens.length; i++) {
      const p = position + i;
      const before = p === 0 ? START : this.#states[slot];
      const after = readOne(before, fold, tokens[i], p);
      this.#states[slot] = after;
      this.#kv[this.#at(step, p)] = after;
      fold += weigh(after, p);
    }
  }

  #draw(step: Pick<SequenceStep, "slot" | "blocks" | "mask">, position: number): Sampled {
    const { slot } = step;
    const drawer = this.#drawers[slot];
    if (step.mask) drawer.mask = step.mask();
    const state = this.#states[slot];
    const fold = this.#fold(step, position + 1);
    const isSound = Number.isFinite(state) && Number.isFinite(fold);
    const { sampling, drawn, counts, mask } = drawer;
    const token = isSound ? drawOne(state, fold, { sampling, drawn, counts, mask }) : 0;
    drawer.drawn++;
    drawer.counts += mix(5, token);
    const isLast = sampling.stopIds.includes(token) || drawer.drawn >= sampling.maxTokens;
    return { token, isLast, isFinite: isSound, slot, position };
  }

  /** Steps run in the order of their calls. */
  #later<T>(action: () => T | Promise<T>): Promise<T> {
    this.running++;
    const done = this.#last.then(action).finally(() => this.running--);
    this.#last = done.catch(() => {});
    return done;
  }
}

export const VOCABULARY = 97;

const START = 7;

/** What the runner has to give, token by token, after a prompt. */
export class FakeModel {
  #state = START;
  #fold = 0;
  #length = 0;
  readonly #reply: number[] = [];

  constructor(prompt: readonly number[]) {
    for (const token of prompt) this.#read(token);
  }

  next(sampling: ResolvedSampling, mask?: Uint32Array): number {
    const counts = countsOf(this.#reply);
    const token = drawOne(this.#state, this.#fold, { sampling, drawn: this.#reply.length, counts, mask });
    this.#reply.push(token);
    this.#read(token);
    return token;
  }

  #read(token: number): void {
    this.#state = readOne(this.#state, this.#fold, token, this.#length);
    this.#fold += weigh(this.#state, this.#length++);
  }
}

interface Drawer {
  readonly sampling: ResolvedSampling;
  readonly drawn: number;
  readonly counts: number;
  readonly mask?: Uint32Array;
}

function drawOne(state: number, fold: number, { sampling, drawn, counts, mask }: Drawer): number {
  let hash = mix(state, fold);
  if (sampling.temperature > 0) hash = mix(hash, mix(sampling.seed, drawn));
  if (sampling.frequencyPenalty !== 0) hash = mix(hash, counts);
  let token = hash % VOCABULARY;
  while (mask && ((mask[token >> 5] >>> (token & 31)) & 1) === 0) token = (token + 1) % VOCABULARY;
  return token;
}

const bytesOf = (values: readonly number[]) => new Uint8Array(Float64Array.from(values).buffer);

const countsOf = (reply: readonly number[]): number => reply.reduce((sum, token) => sum + mix(5, token), 0);

const readOne = (state: number, fold: number, token: number, position: number): number =>
  Number.isNaN(state) || Number.isNaN(fold) ? Number.NaN : mix(mix(state, fold), mix(token, position));

const weigh = (value: number, position: number): number => (Number.isNaN(value) ? Number.NaN : mix(value, position));

function mix(a: number, b: number): number {
  let hash = Math.imul((a % 0x100000000) ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(b % 0x100000000, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
