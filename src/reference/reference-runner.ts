import type { MemoryPlan } from "../api/types.ts";
import type { DecodeRow, ResolvedSampling, Runner, RunnerLimits, Sampled, SequenceStep } from "../engine/runner.ts";
import { invariant, LLMError } from "../errors.ts";
import { forward, logits, type Trace } from "../models/qwen3-next/model.ts";
import { ropeFrequencies, ropeRows } from "../models/qwen3-next/rope.ts";
import { type ModelWeights, mapWeights, weightLeaves } from "../models/qwen3-next/weights.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import type { Scores } from "../runner/model-runner.ts";
import type { WeightSource } from "../weights/format.ts";
import { hostBatch } from "./host-batch.ts";
import { type HostLayerState, hostKVCache, hostRecurrentState } from "./host-state.ts";
import { type HostTensor, type HostWeight, loadHostWeight } from "./host-tensor.ts";
import { ReferenceOps } from "./reference-ops.ts";
import { ReferenceSampler } from "./reference-sampler.ts";

/** As for a device; the cache is always f32. */
export interface LoadReferenceOptions extends Omit<RunnerOptions, "kvFormat"> {
  readonly onBytes?: (loaded: number) => void;
  readonly signal?: AbortSignal;
}

/** Tokens of one sequence's KV block. */
const BLOCK_TOKENS = 64;

/** Rows between two turns of the event loop. */
const ROWS_AT_ONCE = 16;

/** A model on the reference ops: what a device must compute, in plain loops on the CPU. Slow, exact, needs nothing. */
export class ReferenceRunner implements Runner {
  readonly limits: RunnerLimits;
  /** The CPU stays. */
  readonly isLost = false;
  /** Host memory in bytes. Activations come and go, and are not counted. */
  readonly memory: MemoryPlan;
  readonly #weights: ModelWeights<HostWeight>;
  readonly #state: readonly HostLayerState[];
  readonly #ops: ReferenceOps;
  /** One for each live slot. */
  readonly #samplers: readonly ReferenceSampler[];
  /** The token drawn last for a slot, unless it ended the reply. */
  readonly #drawn = new Map<number, number>();
  #lastStep: Promise<unknown> = Promise.resolve();
  #isDisposed = false;

  private constructor(weights: ModelWeights<HostWeight>, options: LoadReferenceOptions) {
    const { config, usableVocabulary } = options;
    this.limits = referenceLimits(options);
    const { slots, blocks, maxSequences } = this.limits;
    this.#weights = weights;
    this.#state = config.layers.map(({ mixer }) =>
      mixer === "delta" ? hostRecurrentState(config.delta, slots) : hostKVCache(config.attention, blocks, BLOCK_TOKENS),
    );
    const rope = ropeFrequencies(config.rope);
    this.#ops = new ReferenceOps((position) => ropeRows(rope, position));
    const sampler = () => new ReferenceSampler(config.vocabularySize, usableVocabulary);
    this.#samplers = Array.from({ length: maxSequences }, sampler);
    this.memory = hostMemory(weights, this.#state, this.limits);
  }

  /** Reads all weights into host memory as f32. */
  static async load(sources: ModelWeights<WeightSource>, options: LoadReferenceOptions): Promise<ReferenceRunner> {
    let loaded = 0;
    const onBytes = (bytes: number) => {
      loaded += bytes;
      options.onBytes?.(loaded);
    };
    const { quantization, signal } = options;
    const weights = await mapWeights(sources, (source) => loadHostWeight(source, { quantization, signal, onBytes }));
    return new ReferenceRunner(weights, options);
  }

  setSampling(
    slot: number,
    sampling: ResolvedSampling,
    prompt: ArrayLike<number>,
    reply: ArrayLike<number> = [],
  ): void {
    const [before, drawn] = [Array.from(prompt), Array.from(reply)];
    void this.#inOrder(() => this.#samplers[slot].set(sampling, before, drawn));
  }

  prefill(steps: readonly SequenceStep[]): Promise<readonly (Sampled | undefined)[]> {
    return this.#inOrder(async () => {
      const all: (Sampled | undefined)[] = [];
      for (const step of steps) {
        const hidden = await this.#forward(step);
        this.#drawn.delete(step.slot);
        all.push(step.sample ? this.#draw(step, hidden.at(-1)!) : undefined);
      }
      return all;
    });
  }

  decode(rows: readonly DecodeRow[]): Promise<readonly (Sampled | undefined)[]> {
    return this.#inOrder(async () => {
      const all: (Sampled | undefined)[] = [];
      for (const row of rows) {
        const token = row.token ?? this.#drawn.get(row.slot);
        const step = token === undefined ? undefined : { ...row, tokens: [token] };
        all.push(step && this.#draw(step, (await this.#forward(step))[0]));
      }
      return all;
    });
  }

  /** Logits of all rows of a step, and with `trace` all that passes between layers. Reads the tokens into the state. */
  score(step: SequenceStep, trace = false): Promise<Scores> {
    return this.#inOrder(async () => {
      const hidden: HostTensor[][] = [];
      const experts: HostTensor[][] = [];
      const final = await this.#forward(step, {
        hidden: (index, x) => push(hidden, index, x as HostTensor),
        experts: (layer, ids) => push(experts, layer, ids as HostTensor),
      });
      const rows = final.map((x) => logits(this.#ops, this.#weights, x) as HostTensor);
      // What the last layer left is of no interest beside its norm.
      hidden[hidden.length - 1] = final;
      return {
        logits: concat(rows),
        hidden: trace ? hidden.map(concat) : [],
        // Dense layers leave holes, which flatMap skips.
        experts: trace ? experts.flatMap((ids) => [Uint32Array.from(concat(ids))]) : [],
      };
    });
  }

  copyState(from: number, to: number): void {
    void this.#inOrder(() => {
      for (const state of this.#state) {
        if (state.kind === "kv") continue;
        for (const data of [state.conv, state.delta]) {
          const size = data.length / this.limits.slots;
          data.copyWithin(to * size, from * size, (from + 1) * size);
        }
      }
    });
  }

  copyBlock(from: number, to: number): void {
    void this.#inOrder(() => {
      for (const state of this.#state) {
        if (state.kind === "recurrent") continue;
        for (const data of [state.keys, state.values]) {
          const size = data.length / this.limits.blocks;
          data.copyWithin(to * size, from * size, (from + 1) * size);
        }
      }
    });
  }

  dispose(): void {
    this.#isDisposed = true;
  }

  /** Final hidden states of a step's rows, in parts; others get their turn between two parts. */
  async #forward({ tokens, position, slot, blocks }: SequenceStep, trace?: Trace): Promise<HostTensor[]> {
    invariant(tokens.length <= this.limits.maxBatchTokens, `a step of ${tokens.length} tokens`);
    const tokenIds = Array.from(tokens);
    const blockTable = Array.from(blocks);
    const parts: HostTensor[] = [];
    for (let from = 0; from < tokenIds.length; from += ROWS_AT_ONCE) {
      await turnOfOthers();
      this.#check();
      const part = { tokenIds: tokenIds.slice(from, from + ROWS_AT_ONCE), position: position + from, slot, blockTable };
      parts.push(forward(this.#ops, this.#weights, this.#state, hostBatch([part]), trace) as HostTensor);
    }
    return parts;
  }

  /** The token after the last row of `hidden`. */
  #draw({ slot, position, tokens, mask, logits: wantLogits }: SequenceStep, hidden: HostTensor): Sampled {
    const last = { ...hidden, rows: 1, data: hidden.data.slice(-hidden.columns) };
    const scores = (logits(this.#ops, this.#weights, last) as HostTensor).data;
    if (mask) this.#samplers[slot].setMask(mask());
    const drawn = this.#samplers[slot].draw(scores);
    if (drawn.isLast) this.#drawn.delete(slot);
    else this.#drawn.set(slot, drawn.token);
    const sampled = { ...drawn, slot, position: position + tokens.length - 1 };
    return wantLogits ? { ...sampled, logits: scores } : sampled;
  }

  /** Runs after all that was asked for before, whether that went well or not. */
  #inOrder<T>(action: () => T | Promise<T>): Promise<T> {
    const done = this.#lastStep.then(() => {
      this.#check();
      return action();
    });
    this.#lastStep = done.catch(() => {});
    return done;
  }

  #check(): void {
    if (this.#isDisposed) throw new LLMError("The model was disposed while it was in use.");
  }
}

const turnOfOthers = () => new Promise((resolve) => setTimeout(resolve, 0));

function push(lists: HostTensor[][], index: number, tensor: HostTensor): void {
  lists[index] ??= [];
  lists[index].push(tensor);
}

function concat(parts: readonly HostTensor[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { data }) => sum + data.length, 0));
  let at = 0;
  for (const { data } of parts) {
    all.set(data, at);
    at += data.length;
  }
  return all;
}

function referenceLimits(options: LoadReferenceOptions): RunnerLimits {
  const { config, maxContext, maxBatchTokens, snapshots, maxSequences = 1, cacheTokens = maxContext } = options;
  return {
    maxContext,
    maxBatchTokens,
    maxSequences,
    maxPrefillSequences: Math.min(maxSequences, maxBatchTokens),
    slots: maxSequences + snapshots,
    blockTokens: BLOCK_TOKENS,
    // One more than a whole context, to copy the end of a shared prefix into.
    blocks: Math.ceil(Math.max(maxContext, cacheTokens) / BLOCK_TOKENS) + 1,
    vocabularySize: config.vocabularySize,
  };
}

function hostMemory(
  weights: ModelWeights<HostWeight>,
  states: readonly HostLayerState[],
  { slots, maxSequences }: RunnerLimits,
): MemoryPlan {
  const bytes = (arrays: readonly Float32Array[]) => arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const recurrent = bytes(states.flatMap((state) => (state.kind === "kv" ? [] : [state.conv, state.delta])));
  const parts = {
    weights: bytes(weightLeaves(weights).map(({ data }) => data)),
    kvCache: bytes(states.flatMap((state) => (state.kind === "kv" ? [state.keys, state.values] : []))),
    recurrentState: (recurrent / slots) * maxSequences,
    snapshots: (recurrent / slots) * (slots - maxSequences),
    scratch: 0,
    other: 0,
  };
  return { ...parts, total: Object.values(parts).reduce((a, b) => a + b, 0) };
}
