import type { PagingStats } from "../api/types.ts";
import { CompanionError } from "../errors.ts";
import type { Device } from "../gpu/device.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Stop } from "../gpu/recorder.ts";
import type { ExpertArena } from "./expert-arena.ts";
import type { ExpertHost, ExpertInput } from "./expert-host.ts";
import { ExpertReader, type ExpertRows } from "./expert-reader.ts";
import { ExpertSlots, MISSING } from "./expert-slots.ts";
import { LayerStats } from "./paging-stats.ts";
import { expertPasses } from "./passes.ts";
import { chosenIn, distinct, REPORT } from "./report.ts";

interface Layer {
  readonly index: number;
  readonly slots: ExpertSlots;
  readonly stats: LayerStats;
}

/** What a layer chose, and its input. */
interface Choice {
  /** [rows, topK], MISSING in rows of no sequence. */
  readonly chosen: Uint32Array;
  /** [rows, topK] */
  readonly weights: Float32Array;
  /** [rows, hidden] */
  readonly x: Float32Array;
}

/**
 * Runs plans some of whose experts are elsewhere. At each sparse layer the host looks what was chosen; what lies here is
 * computed while the rest is asked for, and the plan goes on with both sums. Empty slots are filled with what was asked for.
 */
export class SharedExperts {
  readonly #device: Device;
  readonly #arena: ExpertArena;
  readonly #elsewhere: ExpertHost;
  readonly #here: ExpertHost;
  readonly #reader: ExpertReader;
  readonly #layers: readonly Layer[];
  /** Experts that were read for empty slots, and lie on the host still. */
  #arrived: { layer: number; expert: number; rows: ExpertRows }[] = [];
  #staging: GPUBuffer | undefined;
  /** Nobody is there to be asked any more. */
  #isAlone = false;

  /** @param here sums by slots instead of experts */
  constructor(device: Device, arena: ExpertArena, elsewhere: ExpertHost, here: ExpertHost) {
    this.#device = device;
    this.#arena = arena;
    this.#elsewhere = elsewhere;
    this.#here = here;
    this.#reader = new ExpertReader(arena.matrices);
    this.#layers = arena.weights.map((_, index) => {
      const slots = new ExpertSlots(elsewhere.shape.experts, arena.slots);
      arena.writeTable(index, slots.table);
      return { index, slots, stats: new LayerStats() };
    });
  }

  /** Whether nobody else computes any more. */
  get isAlone(): boolean {
    return this.#isAlone;
  }

  get stats(): PagingStats {
    const layers = this.#layers.map(({ stats, slots }) => ({ ...stats.snapshot(), recency: slots.recency() }));
    return { layers, slots: this.#arena.slots, experts: this.#elsewhere.shape.experts };
  }

  /** Runs a plan; `finish` adds to its last submit. Fails with `CompanionError` where sums neither come nor can be made here. */
  async run<T>(plan: Plan, finish: (encoder: GPUCommandEncoder) => T): Promise<T> {
    let from = 0;
    for (const stop of plan.stops) {
      await this.#install(this.#layers[stop.layer]);
      const choice = await this.#look(plan, from, stop);
      this.#submit(this.#encode(plan, stop.from + 1, stop.to));
      await this.#bringSums(this.#layers[stop.layer], choice);
      from = stop.to;
    }
    const encoder = this.#encode(plan, from);
    const result = finish(encoder);
    this.#submit(encoder);
    return result;
  }

  dispose(): void {
    this.#reader.close();
    this.#arena.dispose();
    this.#staging?.destroy();
  }

  #encode(plan: Plan, from: number, to?: number): GPUCommandEncoder {
    const encoder = this.#device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    plan.encode(pass, from, to);
    pass.end();
    return encoder;
  }

  #submit(encoder: GPUCommandEncoder): void {
    this.#arena.submit([encoder.finish()]);
  }

  /** Runs a plan up to where a layer's experts have been chosen, and reads the choice. */
  async #look(plan: Plan, from: number, stop: Stop): Promise<Choice> {
    const { topK, expectedAt, input } = stop;
    const { rows: maxRows, columns } = input!;
    const reportBytes = 4 * (expectedAt + maxRows * topK);
    const inputBytes = 4 * maxRows * columns;
    const staging = this.#stagingOf(reportBytes + inputBytes);
    const encoder = this.#encode(plan, from, stop.from + 1);
    encoder.copyBufferToBuffer(this.#arena.report.gpu!, 0, staging, 0, reportBytes);
    encoder.copyBufferToBuffer(plan.inputOf(stop), 0, staging, reportBytes, inputBytes);
    this.#submit(encoder);
    await staging.mapAsync(GPUMapMode.READ, 0, reportBytes + inputBytes);
    const report = new Uint32Array(staging.getMappedRange(0, reportBytes).slice(0));
    const rows = report[REPORT.counts];
    const x = new Float32Array(staging.getMappedRange(reportBytes, inputBytes).slice(0, 4 * rows * columns));
    staging.unmap();
    const weights = new Float32Array(report.buffer, 4 * expectedAt, rows * topK);
    return { chosen: chosenIn(report, stop), weights, x };
  }

  #stagingOf(size: number): GPUBuffer {
    if (this.#staging && this.#staging.size >= size) return this.#staging;
    this.#staging?.destroy();
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    this.#staging = this.#device.gpu.createBuffer({ label: "choices", size, usage });
    return this.#staging;
  }

  /** Writes the sums of what is not here to the device: zeros where all is. */
  async #bringSums(layer: Layer, choice: Choice): Promise<void> {
    const { hidden } = this.#elsewhere.shape;
    const needed = distinct(choice.chosen);
    const missing = [...needed].filter((expert) => !layer.slots.has(expert));
    layer.stats.used(needed.size, missing.length, 0);
    for (const expert of needed) layer.slots.touch(expert);
    const sums = new Float32Array(choice.x.length);
    if (missing.length > 0) {
      const { rows, input } = this.#inputOf(layer, choice);
      const start = performance.now();
      const brought = await this.#sum(layer, input, missing);
      layer.stats.waited(performance.now() - start);
      rows.forEach((row, i) => {
        sums.set(brought.subarray(i * hidden, (i + 1) * hidden), row * hidden);
      });
    }
    this.#device.queue.writeBuffer(this.#arena.sums!.gpu!, 0, sums);
  }

  /** The rows that lack experts, with those alone: a row that lacks fewer than others names one of its own again, for nothing. */
  #inputOf({ slots }: Layer, { chosen, weights, x }: Choice): { rows: number[]; input: ExpertInput } {
    const { hidden, topK } = this.#elsewhere.shape;
    const isMissing = (i: number) => chosen[i] !== MISSING && !slots.has(chosen[i]);
    const placesOf = (row: number) => Array.from({ length: topK }, (_, k) => row * topK + k).filter(isMissing);
    const rows = Array.from({ length: x.length / hidden }, (_, row) => row).filter((row) => placesOf(row).length > 0);
    const input = {
      x: new Float32Array(rows.length * hidden),
      ids: new Uint32Array(rows.length * topK),
      weights: new Float32Array(rows.length * topK),
    };
    rows.forEach((row, i) => {
      input.x.set(x.subarray(row * hidden, (row + 1) * hidden), i * hidden);
      const places = placesOf(row);
      for (let k = 0; k < topK; k++) {
        input.ids[i * topK + k] = chosen[places[k] ?? places[0]];
        input.weights[i * topK + k] = k < places.length ? weights[places[k]] : 0;
      }
    });
    return { rows, input };
  }

  async #sum(layer: Layer, input: ExpertInput, missing: readonly number[]): Promise<Float32Array> {
    const canPage = !this.#elsewhere.isVital && layer.slots.count >= this.#elsewhere.shape.topK;
    if (!this.#isAlone) {
      try {
        const sums = this.#elsewhere.sum(layer.index, input);
        this.#fill(layer, missing);
        return await sums;
      } catch (error) {
        const isGone = error instanceof CompanionError && (error.reason === "lost" || error.reason === "unreachable");
        if (!isGone || !canPage) throw error;
        this.#isAlone = true;
      }
    }
    return this.#sumHere(layer, input, missing);
  }

  /** Brings experts into slots, as many as there are at a time, and sums what they make. */
  async #sumHere(layer: Layer, { x, ids, weights }: ExpertInput, missing: readonly number[]): Promise<Float32Array> {
    const { slots, stats } = layer;
    const total = new Float32Array(x.length);
    for (const pass of expertPasses(new Set(missing), slots.count, () => false)) {
      await Promise.all(
        Array.from(pass, async (expert) => {
          stats.read(this.#arena.bytesIn(layer.index));
          await this.#place(layer, expert, await this.#reader.read(layer.index, expert), pass);
        }),
      );
      this.#arena.submit();
      const part = await this.#here.sum(layer.index, {
        x,
        ids: ids.map((expert) => (pass.has(expert) ? slots.table[expert] : 0)),
        weights: weights.map((weight, i) => (pass.has(ids[i]) ? weight : 0)),
      });
      for (let i = 0; i < total.length; i++) total[i] += part[i];
    }
    this.#arena.writeTable(layer.index, slots.table);
    return total;
  }

  async #place(layer: Layer, expert: number, rows: ExpertRows, keep: ReadonlySet<number>): Promise<void> {
    const taken = layer.slots.take(expert, keep);
    if (taken) await this.#arena.write(layer.index, taken.slot, rows);
  }

  /** Reads experts for slots that are empty, when nothing else is read; once full, a layer keeps what it has. */
  #fill(layer: Layer, missing: readonly number[]): void {
    const room = layer.slots.free - this.#arrived.filter(({ layer: index }) => index === layer.index).length;
    if (room <= 0) return;
    this.#reader.expect(layer.index, missing.slice(0, room), (expert, rows) => {
      layer.stats.readAhead(this.#arena.bytesIn(layer.index));
      this.#arrived.push({ layer: layer.index, expert, rows });
    });
  }

  async #install(layer: Layer): Promise<void> {
    const arrived = this.#arrived.filter((one) => one.layer === layer.index && !layer.slots.has(one.expert));
    this.#arrived = this.#arrived.filter((one) => one.layer !== layer.index);
    for (const { expert, rows } of arrived.slice(0, layer.slots.free)) {
      await this.#place(layer, expert, rows, new Set());
    }
    if (arrived.length > 0) this.#arena.writeTable(layer.index, layer.slots.table);
  }
}
