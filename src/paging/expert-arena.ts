import type { Quantization } from "../api/types.ts";
import type { Device } from "../gpu/device.ts";
import type { GpuBuffer, GpuWeight } from "../gpu/resources.ts";
import { StagingRing, type Upload } from "../gpu/staging-ring.ts";
import { type GpuExperts, REPORT_HEADER, reportWords } from "../ops/gpu/moe.ts";
import type { ExpertWeights } from "../ops/ops.ts";
import { dataBytes, scaleBytes, type WeightSource } from "../weights/format.ts";
import { planWeight, weightBuffers, weightBytes } from "../weights/load.ts";
import type { ExpertMatrix, ExpertRows } from "./expert-reader.ts";

export interface ArenaOptions {
  readonly layers: readonly ExpertWeights<WeightSource>[];
  readonly quantization: Quantization;
  /** Experts of each layer that are on the device at a time. */
  readonly slots: number;
  /** Others have the rest of them: there is room for what theirs say. */
  readonly isShared?: boolean;
  /** Rows of a decode step, and of any step. */
  readonly maxSequences: number;
  readonly maxTokens: number;
}

/** Uploads are put together in so many slabs of so many experts. */
const SLABS = 3;
const SLAB_EXPERTS = 3;

/** The device memory of paged experts: per layer `slots` of them as one matrix each half, and what kernels and host tell each other. */
export class ExpertArena {
  /** Per layer gateUp and down, as they are read and as they lie on the device. */
  readonly matrices: readonly (readonly ExpertMatrix[])[];
  readonly weights: readonly (readonly GpuWeight[])[];
  /** [layers, experts] */
  readonly table: GpuBuffer;
  readonly report: GpuBuffer;
  /** [rows, hidden]: what experts elsewhere make of a layer's input, where they are shared. */
  readonly sums: GpuBuffer | undefined;
  readonly #layers: readonly ExpertWeights<WeightSource>[];
  readonly slots: number;
  readonly #device: Device | undefined;
  readonly #staging: StagingRing | undefined;

  constructor({ layers, quantization, slots, isShared, maxSequences, maxTokens }: ArenaOptions, device?: Device) {
    this.#layers = layers;
    this.slots = slots;
    this.#device = device;
    const planned = layers.map(({ gateUp, down }) => [gateUp, down].map((source) => planWeight(source, quantization)));
    this.matrices = layers.map(({ experts, gateUp, down }, layer) =>
      [gateUp, down].map((source, i) => ({ source, rows: source.rows / experts, format: planned[layer][i].format })),
    );
    this.weights = planned.map((halves, layer) =>
      halves.map((weight, i) => allocate({ ...weight, rows: this.#room * this.matrices[layer][i].rows }, device)),
    );
    const { experts, topK, gateUp } = layers[0];
    const buffer = (label: string, words: number): GpuBuffer => {
      const sizeBytes = words * 4;
      return { kind: "buffer", label, sizeBytes, gpu: device?.buffer(label, sizeBytes) };
    };
    this.table = buffer("expert table", layers.length * experts);
    this.report = buffer(
      "expert report",
      REPORT_HEADER + Math.max(layers.length * reportWords(maxSequences, topK), reportWords(maxTokens, topK)),
    );
    this.sums = isShared ? buffer("sums of experts elsewhere", maxTokens * gateUp.columns) : undefined;
    this.#staging = device && new StagingRing(device.gpu, SLABS, SLAB_EXPERTS * this.expertBytes);
  }

  /** Bytes of the largest expert. */
  get expertBytes(): number {
    return Math.max(...this.weights.map((_, layer) => this.bytesIn(layer)));
  }

  /** Bytes of one expert of a layer. */
  bytesIn(layer: number): number {
    return this.weights[layer].reduce((sum, weight) => sum + weightBytes(weight), 0) / this.#room;
  }

  /** Bytes of all slots. */
  get slotBytes(): number {
    return this.weights.flat().reduce((sum, weight) => sum + weightBytes(weight), 0);
  }

  /** Bytes of all else: what is written anew in every step. */
  get otherBytes(): number {
    return (
      this.table.sizeBytes +
      this.report.sizeBytes +
      (this.sums?.sizeBytes ?? 0) +
      SLABS * SLAB_EXPERTS * this.expertBytes
    );
  }

  /** Single buffers, for a device that limits their size. */
  get buffers(): { label: string; sizeBytes: number }[] {
    const others = [this.table, this.report, ...(this.sums ? [this.sums] : [])];
    return [...this.weights.flat().flatMap(weightBuffers), ...others];
  }

  /** The experts of a layer as ops take them. */
  experts(layer: number, nextRouter: GpuWeight | undefined): GpuExperts {
    const { experts, topK } = this.#layers[layer];
    const [gateUp, down] = this.weights[layer];
    const { table, report, sums } = this;
    const paging = { slots: this.#room, layer, layers: this.#layers.length, table, report, sums, nextRouter };
    return { experts, topK, gateUp, down, paging };
  }

  /** Slots as kernels know them: a buffer cannot be empty. */
  get #room(): number {
    return Math.max(1, this.slots);
  }

  /** Puts an expert into a slot with the next `submit`; what was submitted before still sees the one that was there. */
  async write(layer: number, slot: number, rows: ExpertRows): Promise<void> {
    const uploads = this.weights[layer].flatMap(({ format, columns, data, scales }, i): Upload[] => {
      const elements = this.matrices[layer][i].rows * columns;
      const { data: bytes, scales: scaleRows } = rows[i];
      const plane = {
        bytes: bytes.subarray(0, dataBytes(format, elements)),
        target: data!,
        offset: slot * dataBytes(format, elements),
      };
      if (!scales) return [plane];
      const size = scaleBytes(format, elements);
      return [plane, { bytes: scaleRows!.subarray(0, size), target: scales, offset: slot * size }];
    });
    await this.#staging!.put(uploads);
  }

  /** Submits what was written, and `commands` behind it. */
  submit(commands?: readonly GPUCommandBuffer[]): void {
    this.#staging!.submit(commands);
  }

  /** Says where the experts of a layer lie. */
  writeTable(layer: number, table: Uint32Array<ArrayBuffer>): void {
    this.#device!.queue.writeBuffer(this.table.gpu!, layer * table.byteLength, table);
  }

  dispose(): void {
    this.#staging?.dispose();
  }
}

function allocate(weight: GpuWeight, device: Device | undefined): GpuWeight {
  if (!device) return weight;
  const [data, scales] = weightBuffers(weight).map(({ label, sizeBytes }) => device.buffer(label, sizeBytes));
  return { ...weight, data, scales };
}
