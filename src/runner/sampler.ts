import type { ResolvedSampling, Sampled } from "../engine/runner.ts";
import type { Allocator } from "../gpu/device.ts";
import type { GpuBuffer, GpuTensor } from "../gpu/resources.ts";
import { advance } from "../kernels/sampling/advance.ts";
import { logitsPerGroup, SEGMENT } from "../kernels/sampling/best-token.ts";
import { processLogits } from "../kernels/sampling/process-logits.ts";
import { sample } from "../kernels/sampling/sample.ts";
import type { GpuContext } from "../ops/gpu/gpu-ops.ts";

/** Words of one slot's parameters; shaders/lib/sampling.wgsl reads them. */
const PARAM_WORDS = 32;
const STOPS_AT = 16;
const MASKED = 11;

/** Words of one result: token, status, whether all logits were finite, from how many it was drawn, slot, position. */
const RESULT_WORDS = 8;

const STATUS = { idle: 0, running: 1, last: 2 } as const;

/** Draws tokens on the device, and moves the batch on to the token it drew. */
export class Sampler {
  readonly params: GpuBuffer;
  /** [slot][token]: how often the reply holds it; the top bit says that the prompt does. */
  readonly counts: GpuBuffer;
  /** [slot]: for every token what is added to its logit, then a bit for every token that may be drawn. */
  readonly bias: GpuBuffer;
  /** [sequence of the batch] */
  readonly results: GpuBuffer;
  readonly #device: Allocator | undefined;
  readonly #vocabulary: number;
  readonly #maxSequences: number;
  /** Ids from here on are padding rows of the embedding and never drawn. */
  readonly #usable: number;
  /** Slots whose bias holds nothing but the padding. */
  readonly #plainBias = new Set<number>();

  constructor(options: { vocabulary: number; usable: number; maxSequences: number; device?: Allocator }) {
    const { vocabulary, maxSequences, device } = options;
    this.#device = device;
    this.#vocabulary = vocabulary;
    this.#maxSequences = maxSequences;
    this.#usable = options.usable;
    const buffer = (label: string, words: number): GpuBuffer => {
      const sizeBytes = words * maxSequences * 4;
      return { kind: "buffer", label, sizeBytes, gpu: device?.buffer(label, sizeBytes) };
    };
    this.params = buffer("sampling", PARAM_WORDS);
    this.counts = buffer("token counts", vocabulary);
    this.bias = buffer("logit bias", vocabulary + Math.ceil(vocabulary / 32));
    this.results = buffer("sampled", RESULT_WORDS);
  }

  get sizeBytes(): number {
    return [this.params, this.counts, this.bias, this.results].reduce((sum, b) => sum + b.sizeBytes, 0);
  }

  /** Sets a slot's parameters. `reply` is what has been drawn already. */
  set(slot: number, sampling: ResolvedSampling, prompt: ArrayLike<number>, reply: ArrayLike<number> = []): void {
    const queue = this.#device!.queue;
    queue.writeBuffer(this.params.gpu!, slot * PARAM_WORDS * 4, paramWords(sampling, reply.length));
    const counts = new Uint32Array(this.#vocabulary);
    if (sampling.repetitionPenalty !== 1) for (let i = 0; i < prompt.length; i++) counts[prompt[i]] = 0x80000000;
    for (let i = 0; i < reply.length; i++) counts[reply[i]]++;
    queue.writeBuffer(this.counts.gpu!, slot * counts.byteLength, counts);
    this.#setBias(slot, sampling.logitBias);
  }

  /** Lets the draws of a slot, until the next `set`, give only tokens whose bit is set; undefined for all. */
  setMask(slot: number, mask: Uint32Array<ArrayBuffer> | undefined): void {
    const queue = this.#device!.queue;
    const rowBytes = this.#rowBytes(this.bias);
    if (mask) queue.writeBuffer(this.bias.gpu!, slot * rowBytes + this.#vocabulary * 4, mask);
    queue.writeBuffer(this.params.gpu!, (slot * PARAM_WORDS + MASKED) * 4, new Uint32Array([mask ? 1 : 0]));
  }

  /** Records the drawing of one token for every row of logits [sequences, V]. */
  record({ recorder, batchBuffer: batch }: GpuContext, logits: GpuTensor): void {
    const { params, counts, bias, results } = this;
    const VOCABULARY = this.#vocabulary;
    const processed = recorder.tensor("processed logits", logits.rows, VOCABULARY);
    const perGroup = logitsPerGroup(recorder.profile);
    const groups = Math.ceil(VOCABULARY / perGroup);
    const partials = recorder.tensor("logit partials", logits.rows, groups * 4);
    const maxima = recorder.tensor("logit maxima", logits.rows, (groups * perGroup) / SEGMENT);
    processLogits(recorder, {
      buffers: { logits, params, counts, bias, processed, partials, maxima, batch },
      constants: { VOCABULARY, GROUPS: groups },
      grid: [groups, logits.rows],
    });
    sample(recorder, {
      buffers: { processed, partials, params, counts, results, maxima, batch },
      constants: { VOCABULARY, GROUPS: groups },
      grid: [logits.rows],
    });
    advance(recorder, { buffers: { results, params, batchState: batch }, constants: {}, grid: [1] });
  }

  /** Reads the result of one sequence of the batch; undefined where its reply had ended before. */
  static parse(bytes: ArrayBuffer, sequence: number): Sampled | undefined {
    const [token, status, finite, , slot, position] = new Uint32Array(bytes, sequence * RESULT_WORDS * 4, RESULT_WORDS);
    if (status === STATUS.idle) return undefined;
    return { token, isLast: status === STATUS.last, isFinite: finite === 1, slot, position };
  }

  #rowBytes(buffer: GpuBuffer): number {
    return buffer.sizeBytes / this.#maxSequences;
  }

  #setBias(slot: number, logitBias: ReadonlyMap<number, number>): void {
    if (logitBias.size === 0 && this.#plainBias.has(slot)) return;
    const bias = new Float32Array(this.#vocabulary);
    bias.fill(NEVER, this.#usable);
    for (const [id, amount] of logitBias) if (id < this.#usable) bias[id] = amount;
    this.#device!.queue.writeBuffer(this.bias.gpu!, slot * this.#rowBytes(this.bias), bias);
    if (logitBias.size === 0) this.#plainBias.add(slot);
    else this.#plainBias.delete(slot);
  }
}

/** Low enough that no logit comes back from it, and far from overflow. */
const NEVER = -1e30;

function paramWords(s: ResolvedSampling, drawn: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(PARAM_WORDS);
  const floats = new Float32Array(words.buffer);
  floats[0] = s.temperature;
  words[1] = s.topK;
  floats[2] = s.topP;
  floats[3] = s.minP;
  floats[4] = s.presencePenalty;
  floats[5] = s.frequencyPenalty;
  floats[6] = s.repetitionPenalty;
  words[7] = s.seed;
  words[8] = drawn;
  words[9] = s.maxTokens - drawn; // left to draw
  words[10] = s.stopIds.length;
  words.set(s.stopIds, STOPS_AT);
  return words;
}
