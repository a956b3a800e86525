import type { CompanionStats, MemoryPlan, PagingStats } from "../api/types.ts";
import {
  type DecodeRow,
  type ResolvedSampling,
  type Runner,
  type RunnerLimits,
  type Sampled,
  type SequenceStep,
  StatesLost,
} from "../engine/runner.ts";
import { DeviceLostError, invariant, type LLMError } from "../errors.ts";
import type { Masks, StageMessage, StageResult } from "./messages.ts";

/** The stages as one sees them from outside: what is sent goes to the gate before the first, results come out of the last. */
export interface StageChain {
  readonly stages: number;
  readonly limits: RunnerLimits;
  readonly memory: MemoryPlan;
  /** What those stages have carried that are a companion's. */
  readonly companion?: CompanionStats;
  /** Of the stage whose experts come and go. */
  readonly paging?: PagingStats;
  send(message: StageMessage): void;
  close(): void;
}

/** Tokens that the part of a prefill holds at least, so that parts are worth their while. */
const PART_TOKENS = 64;

/**
 * A model whose layers lie in several stages. A step is cut into as many parts as there are stages, of other sequences or of
 * later tokens, so that each stage has one while the others have theirs. A row that goes on from what the step before draws
 * is sent without its token, which `DrawGate` gets from the last stage.
 */
export class StagedRunner implements Runner {
  readonly #chain: StageChain;
  readonly #pending = new Map<number, Request>();
  #nextId = 1;
  #lost: LLMError | undefined;

  constructor(chain: StageChain) {
    this.#chain = chain;
  }

  get limits(): RunnerLimits {
    return this.#chain.limits;
  }

  get memory(): MemoryPlan {
    return this.#chain.memory;
  }

  get companion(): CompanionStats | undefined {
    return this.#chain.companion;
  }

  get paging(): PagingStats | undefined {
    return this.#chain.paging;
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  /** Takes what the last stage gives. */
  receive(result: StageResult): void {
    const request = this.#pending.get(result.id);
    this.#pending.delete(result.id);
    if (result.kind === "failed") request?.fail(new (result.areStatesLost ? StatesLost : Error)(result.message));
    else request?.settle(result);
  }

  /** A stage is gone, and the states of all sequences with it. */
  lose(reason: string | LLMError): void {
    if (this.#lost) return;
    this.#lost = typeof reason === "string" ? new DeviceLostError(reason) : reason;
    for (const request of this.#pending.values()) request.fail(this.#lost);
    this.#pending.clear();
    this.#chain.close();
  }

  setSampling(slot: number, sampling: ResolvedSampling, prompt: ArrayLike<number>, reply?: ArrayLike<number>): void {
    this.#check();
    this.#send({ kind: "setSampling", slot, sampling, prompt, reply });
  }

  async prefill(steps: readonly SequenceStep[]): Promise<readonly (Sampled | undefined)[]> {
    const parts = prefillParts(steps, this.#chain.stages);
    const drawn = parts.map(async (part) => {
      const masks = masksOf(part.map(({ step }) => step));
      const bare = part.map(({ step: { mask, ...step } }) => step);
      const result = await this.#request((id) => ({ kind: "prefill", id, steps: bare, masks }));
      invariant(result.kind === "drawn", `a prefill gave what was ${result.kind}`);
      return part.map(({ index }, i) => [index, result.sampled[i]] as const);
    });
    // A sequence draws in its last part only.
    const sampled = new Map((await all(drawn)).flat().filter(([, one]) => one));
    return steps.map((_, i) => sampled.get(i));
  }

  async decode(rows: readonly DecodeRow[]): Promise<readonly (Sampled | undefined)[]> {
    const size = Math.ceil(rows.length / this.#chain.stages);
    const groups = Array.from({ length: Math.ceil(rows.length / size) }, (_, i) =>
      rows.slice(i * size, (i + 1) * size),
    );
    return (await all(groups.map((group) => this.#decodeGroup(group)))).flat();
  }

  async #decodeGroup(group: readonly DecodeRow[]): Promise<(Sampled | undefined)[]> {
    const rows = group.map(({ mask, ...row }) => row);
    const result = await this.#request((id) => ({ kind: "decode", id, rows, masks: masksOf(group) }));
    invariant(result.kind === "drawn", `a decode gave what was ${result.kind}`);
    const bySlot = new Map(result.sampled.map((one) => [one?.slot, one]));
    return group.map(({ slot }) => bySlot.get(slot));
  }

  async score({ mask, ...step }: SequenceStep): Promise<{ readonly logits: Float32Array }> {
    const result = await this.#request((id) => ({ kind: "score", id, step }));
    invariant(result.kind === "scored", `a score gave what was ${result.kind}`);
    return result;
  }

  reset(): void {
    this.#send({ kind: "reset" });
  }

  copyState(from: number, to: number): void {
    this.#send({ kind: "copyState", from, to });
  }

  copyBlock(from: number, to: number): void {
    this.#send({ kind: "copyBlock", from, to });
  }

  dispose(): void {
    this.lose("it was disposed of");
  }

  #send(message: StageMessage): void {
    if (!this.#lost) this.#chain.send(message);
  }

  #check(): void {
    if (this.#lost) throw this.#lost;
  }

  #request(step: (id: number) => StageMessage): Promise<StageResult> {
    const id = this.#nextId++;
    return new Promise((settle, fail) => {
      this.#check();
      this.#pending.set(id, { settle, fail });
      this.#chain.send(step(id));
    });
  }
}

interface Request {
  settle(result: StageResult): void;
  fail(error: Error): void;
}

interface PrefillPart {
  readonly step: SequenceStep;
  /** Which of the steps it is of. */
  readonly index: number;
}

/**
 * Cuts a prefill into at most `count` parts of about as many tokens, whose steps draw first. A later part of a sequence comes
 * in a later part of the prefill.
 */
export function prefillParts(steps: readonly SequenceStep[], count: number): PrefillPart[][] {
  const total = steps.reduce((sum, { tokens }) => sum + tokens.length, 0);
  const target = Math.max(PART_TOKENS, Math.ceil(total / count / PART_TOKENS) * PART_TOKENS);
  const parts: PrefillPart[][] = [];
  let room = 0;
  for (const [index, step] of steps.entries()) {
    for (let from = 0; from < step.tokens.length; ) {
      if (room === 0) {
        parts.push([]);
        room = target;
      }
      const to = Math.min(step.tokens.length, from + room);
      const tokens = Array.prototype.slice.call(step.tokens, from, to);
      const isEnd = to === step.tokens.length;
      const piece = { ...step, tokens, position: step.position + from, sample: isEnd && step.sample };
      parts.at(-1)!.push({ step: piece, index });
      room -= to - from;
      from = to;
    }
  }
  const drawsFirst = (a: PrefillPart, b: PrefillPart) =>
    Number(b.step.sample ?? false) - Number(a.step.sample ?? false);
  return parts.map((part) => part.toSorted(drawsFirst));
}

/** What of others fails is met as well. */
function all<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  for (const promise of promises) promise.catch(() => {});
  return Promise.all(promises);
}

function masksOf(steps: readonly Pick<SequenceStep, "mask">[]): Masks | undefined {
  return steps.some(({ mask }) => mask) ? steps.map(({ mask }) => mask?.()) : undefined;
}
