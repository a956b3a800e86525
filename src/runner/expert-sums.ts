import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { GpuTensor } from "../gpu/resources.ts";
import { ScratchArena } from "../gpu/scratch.ts";
import { experts, type GpuExperts } from "../ops/gpu/moe.ts";
import type { ExpertHost, ExpertInput, ExpertShape } from "../paging/expert-host.ts";
import { BatchBuffer, batchConstants, batchLayout } from "./batch-buffer.ts";

/** Rows of the plans; a sum takes the smallest that holds it, or several of the largest. */
const SIZES = [1, 8, 64, 256];
const LARGEST = SIZES[SIZES.length - 1];

interface Compiled {
  readonly plan: Plan;
  readonly x: GpuTensor;
  readonly ids: GpuTensor;
  readonly weights: GpuTensor;
  readonly y: GpuTensor;
}

/** Sums of experts whose weights lie on a device, each on its own: no sequence, no state. */
export class ExpertSums implements ExpertHost {
  readonly shape: ExpertShape;
  readonly #device: Device;
  readonly #layers: readonly GpuExperts[];
  readonly #batch: BatchBuffer;
  /** Not the device's own: a plan of the model may be waiting for a sum, with all its memory in use. */
  readonly #arena: ScratchArena;
  readonly #plans = new Map<string, Promise<Compiled>>();

  constructor(device: Device, layers: readonly GpuExperts[]) {
    const limits = { maxTokens: LARGEST, maxSequences: 1, maxBlocks: 1, blockTokens: 1 };
    this.#device = device;
    this.#arena = new ScratchArena(device.gpu);
    this.#layers = layers;
    this.#batch = new BatchBuffer(limits, device.buffer("batch of sums", batchLayout(limits).words * 4));
    const [{ experts: count, topK, gateUp }] = layers;
    this.shape = { layers: layers.length, experts: count, topK, hidden: gateUp.columns };
  }

  /** @throws DeviceLostError */
  async sum(layer: number, { x, ids, weights }: ExpertInput): Promise<Float32Array<ArrayBuffer>> {
    const { hidden, topK } = this.shape;
    const rows = x.length / hidden;
    const parts: Promise<Float32Array>[] = [];
    for (let from = 0; from < rows; from += LARGEST) {
      const to = Math.min(from + LARGEST, rows);
      parts.push(
        this.#part(layer, {
          x: x.subarray(from * hidden, to * hidden),
          ids: ids.subarray(from * topK, to * topK),
          weights: weights.subarray(from * topK, to * topK),
        }),
      );
    }
    const sums = new Float32Array(x.length);
    for (const [i, part] of (await Promise.all(parts)).entries()) sums.set(part, i * LARGEST * hidden);
    return sums;
  }

  async #part(layer: number, { x, ids, weights }: ExpertInput): Promise<Float32Array> {
    const { gpu, queue } = this.#device;
    const rows = x.length / this.shape.hidden;
    const compiled = await this.#plan(layer, SIZES.find((size) => size >= rows)!);
    this.#device.check();
    const { plan } = compiled;
    const staging = gpu.createBuffer({ size: x.byteLength, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    // Other sums use the same memory: nothing may come between.
    queue.writeBuffer(this.#batch.gpu!, 0, Uint32Array.of(rows, 1, 0));
    queue.writeBuffer(plan.bufferOf(compiled.x), 0, x);
    queue.writeBuffer(plan.bufferOf(compiled.ids), 0, ids);
    queue.writeBuffer(plan.bufferOf(compiled.weights), 0, weights);
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    plan.encode(pass);
    pass.end();
    encoder.copyBufferToBuffer(plan.bufferOf(compiled.y), 0, staging, 0, x.byteLength);
    queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(GPUMapMode.READ);
      return new Float32Array(staging.getMappedRange().slice(0));
    } catch (error) {
      this.#device.check();
      throw error;
    } finally {
      staging.destroy();
    }
  }

  #plan(layer: number, rows: number): Promise<Compiled> {
    const key = `${layer} ${rows}`;
    const known = this.#plans.get(key);
    if (known) return known;
    const compiling = this.#compile(layer, rows);
    this.#plans.set(key, compiling);
    compiling.catch(() => this.#plans.delete(key));
    return compiling;
  }

  async #compile(layer: number, rows: number): Promise<Compiled> {
    const { profile, pipelines } = this.#device;
    const { hidden, topK } = this.shape;
    const recorder = new Recorder(profile, batchConstants(this.#batch.limits));
    const x = recorder.input("rows", rows, hidden);
    const ids = recorder.input("their experts", rows, topK);
    const weights = recorder.input("their weights", rows, topK);
    // Experts turn no positions.
    const gpu = { recorder, batchBuffer: this.#batch, rope: this.#batch };
    const batch = { maxTokens: rows, maxSequences: 1, kind: "prefill" } as const;
    const y = recorder.retain(experts(gpu, x, { ids, weights }, this.#layers[layer], batch));
    return { plan: await Plan.compile(recorder, pipelines, this.#arena), x, ids, weights, y };
  }
}
