import { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import type { GpuTensor, GpuWeight } from "../../src/gpu/resources.ts";
import type { Batch } from "../../src/ops/batch.ts";
import { rmsNorm } from "../../src/ops/gpu/dense.ts";
import type { GpuContext } from "../../src/ops/gpu/gpu-ops.ts";
import { linear } from "../../src/ops/gpu/linear.ts";
import { experts, type GpuExperts, route } from "../../src/ops/gpu/moe.ts";
import type { ExpertWeights } from "../../src/ops/ops.ts";
import { ExpertArena } from "../../src/paging/expert-arena.ts";
import { ExpertPager } from "../../src/paging/expert-pager.ts";
import { BatchBuffer, batchConstants, batchLayout } from "../../src/runner/batch-buffer.ts";
import type { WeightFormat, WeightRows, WeightSource } from "../../src/weights/format.ts";
import { loadWeight } from "../../src/weights/load.ts";
import { makeWeight } from "../kernels/dense/dense-cases.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { normals } from "../support/random.ts";

export interface Shape {
  readonly layers: number;
  readonly experts: number;
  readonly topK: number;
  readonly hidden: number;
  readonly inner: number;
  readonly format: WeightFormat;
  /** Rows that the plan is recorded for. */
  readonly maxRows: number;
  readonly kind: Batch["kind"];
}

const MAX_TOKENS = 256;
const LIMITS = { maxTokens: MAX_TOKENS, maxSequences: 4, maxBlocks: 16, blockTokens: 64 };

/** A source in memory that counts, and can be made to fail. */
export class Source implements WeightSource {
  readonly role = "matrix";
  reads = 0;
  bytes = 0;
  failing = false;
  readonly #rows: WeightRows;

  constructor(
    readonly label: string,
    readonly format: WeightFormat,
    readonly rows: number,
    readonly columns: number,
    seed: number,
  ) {
    this.#rows = makeWeight(format, rows, columns, seed).encoded;
  }

  async read(from: number, to: number): Promise<WeightRows> {
    if (this.failing) throw new Error(`${this.label} cannot be read`);
    this.reads++;
    const plane = (bytes: Uint8Array) =>
      bytes.slice((from * bytes.byteLength) / this.rows, (to * bytes.byteLength) / this.rows);
    const data = plane(this.#rows.data);
    const scales = this.#rows.scales && plane(this.#rows.scales);
    this.bytes += data.byteLength + (scales?.byteLength ?? 0);
    return { format: this.format, rows: to - from, columns: this.columns, data, scales };
  }
}

/** A stack of sparse layers, h ← h + experts(norm(h)), resident and paged, on one device. */
export class PagedLayers {
  readonly sources: readonly ExpertWeights<Source>[];
  readonly #routers: GpuWeight[] = [];
  #norm!: GpuWeight;

  private constructor(
    readonly shape: Shape,
    readonly device: Device,
    readonly batch: BatchBuffer,
  ) {
    const { layers, experts, topK, hidden, inner, format } = shape;
    this.sources = Array.from({ length: layers }, (_, i) => ({
      experts,
      topK,
      gateUp: new Source(`layer ${i} gate and up`, format, experts * 2 * inner, hidden, 10 + i),
      down: new Source(`layer ${i} down`, format, experts * hidden, inner, 50 + i),
    }));
  }

  static async open(shape: Shape): Promise<PagedLayers> {
    const device = await Device.open({ ...(await new ObservedPlatform().openGpu({})) });
    const batch = new BatchBuffer(LIMITS, device.buffer("batch", batchLayout(LIMITS).words * 4));
    const layers = new PagedLayers(shape, device, batch);
    const load = (source: WeightSource) => loadWeight(source, { device, quantization: "auto", onBytes: () => {} });
    for (let i = 0; i < shape.layers; i++) {
      layers.#routers.push(await load(new Source(`router ${i}`, "f32", shape.experts, shape.hidden, 90 + i)));
    }
    const data = device.buffer("norm", shape.hidden * 4);
    device.queue.writeBuffer(data, 0, new Float32Array(shape.hidden).fill(1));
    layers.#norm = { kind: "weight", label: "norm", format: "f32", rows: 1, columns: shape.hidden, data };
    return layers;
  }

  async resident(): Promise<(rows: number, seed: number) => Promise<Float32Array>> {
    const { device } = this;
    const load = (source: WeightSource) => loadWeight(source, { device, quantization: "auto", onBytes: () => {} });
    const weights: GpuExperts[] = [];
    for (const layer of this.sources) {
      weights.push({ ...layer, gateUp: await load(layer.gateUp), down: await load(layer.down) });
    }
    const { run } = await this.#plan(weights);
    return (rows, seed) =>
      run(rows, seed, async (plan, finish) => {
        const encoder = device.gpu.createCommandEncoder();
        const pass = encoder.beginComputePass();
        plan.encode(pass);
        pass.end();
        finish(encoder);
        device.queue.submit([encoder.finish()]);
      });
  }

  async paged(slots: number) {
    const { device, batch, sources } = this;
    const arena = new ExpertArena(
      { layers: sources, quantization: "auto", slots, maxSequences: 4, maxTokens: MAX_TOKENS },
      device,
    );
    const pager = new ExpertPager(device, arena, batch);
    const weights = sources.map((_, i) => arena.experts(i, this.#routers[i + 1]));
    const { run, stops } = await this.#plan(weights);
    return {
      pager,
      arena,
      stops,
      run: (rows: number, seed: number) =>
        run(rows, seed, async (plan, finish) => {
          await pager.run(plan, finish, () => {});
        }),
    };
  }

  async #plan(weights: readonly GpuExperts[]) {
    const { shape, device, batch } = this;
    const recorder = new Recorder(device.profile, batchConstants(LIMITS));
    const rope = { kind: "buffer", label: "rope", sizeBytes: 16, gpu: device.buffer("rope", 16) } as const;
    const gpu: GpuContext = { recorder, batchBuffer: batch, rope };
    const step: Batch = { maxTokens: shape.maxRows, maxSequences: 4, kind: shape.kind };
    const input = recorder.retain(recorder.tensor("input", shape.maxRows, shape.hidden));
    input.scratch.firstUse = 0;
    let h: GpuTensor = input;
    for (const [i, layer] of weights.entries()) {
      const x = rmsNorm(gpu, h, { weight: this.#norm, eps: 1e-6 });
      const routing = route(gpu, linear(gpu, x, this.#routers[i]), shape.topK, step);
      h = linear(gpu, experts(gpu, x, routing, layer, step), this.#mixer(i), h);
    }
    const output = recorder.retain(h);
    const plan = await Plan.compile(recorder, device.pipelines, device.arena);
    const run = async (
      rows: number,
      seed: number,
      run: (plan: Plan, finish: (encoder: GPUCommandEncoder) => void) => Promise<void>,
    ) => {
      this.#writeBatch(rows);
      const data = new Float32Array(shape.maxRows * shape.hidden).fill(Number.NaN);
      data.set(normals(rows * shape.hidden, seed));
      device.queue.writeBuffer(plan.bufferOf(input), 0, data);
      const size = rows * shape.hidden * 4;
      const staging = device.gpu.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      await run(plan, (encoder) => encoder.copyBufferToBuffer(plan.bufferOf(output), 0, staging, 0, size));
      await staging.mapAsync(GPUMapMode.READ);
      const values = new Float32Array(staging.getMappedRange().slice(0));
      staging.destroy();
      device.check();
      return values;
    };
    return { run, stops: plan.stops };
  }

  readonly #mixers = new Map<number, GpuWeight>();

  /** Stirs what the experts gave, so that layers choose differently. */
  #mixer(layer: number): GpuWeight {
    const { hidden } = this.shape;
    let mixer = this.#mixers.get(layer);
    if (!mixer) {
      const { data } = makeWeight("f32", hidden, hidden, 130 + layer).encoded;
      const gpu = this.device.buffer("mixer", data.byteLength);
      this.device.queue.writeBuffer(gpu, 0, data as Uint8Array<ArrayBuffer>);
      mixer = { kind: "weight", label: "mixer", format: "f32", rows: hidden, columns: hidden, data: gpu };
      this.#mixers.set(layer, mixer);
    }
    return mixer;
  }

  #writeBatch(rows: number): void {
    const isDecode = this.shape.kind === "decode";
    const counts = isDecode ? Array.from({ length: rows }, () => 1) : [rows];
    this.batch.write(
      this.device.queue,
      counts.map((count, slot) => ({ tokens: new Array(count).fill(0), position: 0, slot, blocks: [0, 1, 2, 3] })),
    );
  }
}
