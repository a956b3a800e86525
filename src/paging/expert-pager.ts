import type { PagingStats } from "../api/types.ts";
import { eachAtOnce } from "../common/turns.ts";
import { invariant } from "../errors.ts";
import type { Device } from "../gpu/device.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Stop } from "../gpu/recorder.ts";
import type { GpuBuffer } from "../gpu/resources.ts";
import type { ExpertArena } from "./expert-arena.ts";
import { ExpertReader, type ExpertRows } from "./expert-reader.ts";
import { ExpertSlots } from "./expert-slots.ts";
import { LayerStats } from "./paging-stats.ts";
import { expertPasses, nextRowPass } from "./passes.ts";
import { COUNTS_BYTES, chosenIn, distinct, expectedIn, MODE, REPORT, reportEnd } from "./report.ts";

interface Layer {
  readonly index: number;
  readonly slots: ExpertSlots;
  readonly stats: LayerStats;
  /** Experts that were read ahead and not used yet. */
  readonly ahead: Set<number>;
  /** What the layer before expects this one to choose in the step under way. */
  expected: ReadonlySet<number>;
  /** How often it had all that a decode step chose, of late. */
  holds: number;
}

/** Where a plan under way is to go on: at a dispatch, with the first stop of which it is not known whether it holds. */
interface Progress {
  from: number;
  next: number;
}

/** Dispatches [from, to) of a plan, or all from there on, that ask `checked`, the stops from `next` on. */
interface Part extends Progress {
  readonly to: number | undefined;
  readonly checked: readonly Stop[];
  /** Whether nothing is left of the plan if all of them hold. */
  readonly isWhole: boolean;
  /** Whether the batch has been emptied. */
  readonly resume: boolean;
}

interface Ahead {
  readonly plan: Plan;
  readonly part: Part;
  readonly commands: GPUCommandBuffer;
}

/** Experts that are read or wait for staging at once: the memory of those that are placed is read into again. */
const BROUGHT_AT_ONCE = 12;

/** A plan is submitted beyond a layer where it is at least so likely to hold. */
const LIKELY = 0.5;

/** What the newest step counts for in how often a layer holds. */
const NEWEST = 0.25;

/**
 * Runs plans whose experts may be missing. A plan is submitted as far as it is likely to hold; where a layer found experts
 * missing the rest did nothing, they are brought, and the plan goes on from that layer. One step at a time.
 */
export class ExpertPager {
  readonly #device: Device;
  readonly #batch: GpuBuffer;
  readonly #arena: ExpertArena;
  readonly #reader: ExpertReader;
  readonly #layers: readonly Layer[];
  readonly #staging: GPUBuffer;
  /** Encoded, and not submitted yet. */
  #ahead: Ahead | undefined;
  /** Experts that were read ahead and lie on the host still. */
  #arrived: { layer: number; expert: number; rows: ExpertRows }[] = [];

  constructor(device: Device, arena: ExpertArena, batch: GpuBuffer) {
    this.#device = device;
    this.#arena = arena;
    this.#batch = batch;
    this.#reader = new ExpertReader(arena.matrices);
    this.#layers = arena.weights.map((_, index) => {
      const { experts, paging } = arena.experts(index, undefined);
      const slots = new ExpertSlots(experts, paging!.slots);
      arena.writeTable(index, slots.table);
      return { index, slots, stats: new LayerStats(), ahead: new Set(), expected: new Set(), holds: LIKELY };
    });
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    this.#staging = device.gpu.createBuffer({ label: "expert report", size: arena.report.sizeBytes, usage });
  }

  get stats(): PagingStats {
    const layers = this.#layers.map(({ stats, slots }) => ({ ...stats.snapshot(), recency: slots.recency() }));
    return { layers, slots: this.#layers[0].slots.count, experts: this.#layers[0].slots.table.length };
  }

  /**
   * Runs a plan. `finish` adds to the submit that may be the last, `drop` takes back what it returned where it was not.
   * Fails as the experts' sources do; the state is then between two tokens of no sequence, and must not be used.
   */
  async run<T>(plan: Plan, finish: (encoder: GPUCommandEncoder) => T, drop: (result: T) => void): Promise<T> {
    const { stops } = plan;
    const progress: Progress = { from: 0, next: 0 };
    let isStopped = false;
    // A layer whose experts have been found and not run yet: they must stay where they are.
    let held: number | undefined;
    try {
      for (;;) {
        const part = this.#nextPart(stops, progress, isStopped);
        const { checked, to, isWhole } = part;
        await this.#install(held);
        held = undefined;
        let result: T | undefined;
        const commands = [this.#takeAhead(plan, part) ?? this.#encode(plan, part)];
        if (isWhole) {
          const encoder = this.#device.gpu.createCommandEncoder();
          result = finish(encoder);
          commands.push(encoder.finish());
        }
        const reading = this.#submit(commands, part);
        this.#ahead = this.#encodeAhead(plan, part);
        const report = await reading;
        const stoppedBy = report?.[REPORT.stoppedBy] ?? 0;
        isStopped = stoppedBy > 0;
        const passed = isStopped ? checked.filter(({ layer }) => layer < stoppedBy - 1) : checked;
        for (const stop of passed) this.#count(stop, report!);
        progress.next += passed.length;
        if (!isStopped) {
          if (isWhole) return result as T;
          const last = checked.at(-1)!;
          progress.from = to!;
          held = last.layer;
          this.#readAhead(last, report!);
          continue;
        }
        if (isWhole) drop(result as T);
        const stop = stops[progress.next++];
        isStopped = await this.#provide(plan, stop, report!);
        progress.from = isStopped ? stop.from : stop.to;
        if (isStopped) held = stop.layer;
      }
    } catch (error) {
      if (isStopped) this.#restoreBatch();
      throw error;
    }
  }

  /** Calls `use` while all experts seem to be there, any of them in any slot: for timing kernels, not for their results. */
  async pretending<T>(use: () => Promise<T>): Promise<T> {
    for (const { index, slots } of this.#layers) {
      this.#arena.writeTable(
        index,
        slots.table.map((_, expert) => expert % slots.count),
      );
    }
    try {
      return await use();
    } finally {
      for (const { index, slots } of this.#layers) this.#arena.writeTable(index, slots.table);
    }
  }

  dispose(): void {
    this.#reader.close();
    this.#arena.dispose();
    this.#staging.destroy();
  }

  /** Stops to run through in one submit: up to the first that may well not hold. */
  #likely(stops: readonly Stop[], next: number): readonly Stop[] {
    let end = next;
    while (end < stops.length && this.#isLikely(stops.slice(next, end))) end++;
    return stops.slice(next, end);
  }

  /** Whether all of `stops` are likely to hold, and the plan may be submitted beyond them. */
  #isLikely(stops: readonly Stop[]): boolean {
    const likelihood = stops.reduce((product, { layer }) => product * this.#layers[layer].holds, 1);
    return likelihood > LIKELY && stops.every(({ runsOn }) => runsOn);
  }

  #nextPart(stops: readonly Stop[], { from, next }: Progress, resume: boolean): Part {
    const checked = this.#likely(stops, next);
    const isWhole = next + checked.length === stops.length && this.#isLikely(checked);
    const to = isWhole ? undefined : checked.at(-1)!.from + 1;
    return { from, to, next, checked, isWhole, resume };
  }

  /**
   * Encodes what probably comes after `part`, while the device is at work on that: the same layer again where the last that is
   * asked may well not hold, else the next step.
   */
  #encodeAhead(plan: Plan, { next, checked, isWhole }: Part): Ahead | undefined {
    const stop = isWhole ? plan.stops[0] : checked.at(-1);
    if (!stop?.runsOn) return undefined;
    const progress = isWhole ? { from: 0, next: 0 } : { from: stop.from, next: next + checked.length };
    const part = this.#nextPart(plan.stops, progress, !isWhole);
    return { plan, part, commands: this.#encode(plan, part) };
  }

  #takeAhead(plan: Plan, part: Part): GPUCommandBuffer | undefined {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    return ahead?.plan === plan && isSame(ahead.part, part) ? ahead.commands : undefined;
  }

  #encode(plan: Plan, { from, to, resume, checked }: Part): GPUCommandBuffer {
    const report = this.#arena.report.gpu!;
    const encoder = this.#encodeRange(plan, from, to, resume);
    if (checked.length > 0) encoder.copyBufferToBuffer(report, 0, this.#staging, 0, reportBytes(checked));
    return encoder.finish();
  }

  #encodeRange(plan: Plan, from: number, to: number | undefined, resume: boolean): GPUCommandEncoder {
    const encoder = this.#device.gpu.createCommandEncoder();
    // The stop has emptied the batch.
    if (resume) this.#copyCounts(encoder);
    const pass = encoder.beginComputePass();
    plan.encode(pass, from, to);
    pass.end();
    return encoder;
  }

  /** Submits a part of a plan, and reads what its layers found; nothing where no layer was asked. */
  async #submit(commands: readonly GPUCommandBuffer[], { checked }: Part): Promise<Uint32Array | undefined> {
    this.#setMode(MODE.stop);
    this.#arena.submit(commands);
    if (checked.length === 0) return undefined;
    const size = reportBytes(checked);
    await this.#staging.mapAsync(GPUMapMode.READ, 0, size);
    const words = new Uint32Array(this.#staging.getMappedRange(0, size).slice(0));
    this.#staging.unmap();
    return words;
  }

  #setMode(mode: number): void {
    this.#device.queue.writeBuffer(this.#arena.report.gpu!, 0, Uint32Array.of(0, mode));
  }

  #copyCounts(encoder: GPUCommandEncoder): void {
    encoder.copyBufferToBuffer(this.#arena.report.gpu!, 4 * REPORT.counts, this.#batch.gpu!, 0, COUNTS_BYTES);
  }

  /** A layer that had all it needed. */
  #count(stop: Stop, report: Uint32Array): void {
    this.#use(stop, distinct(chosenIn(report, stop)), 0);
    this.#foretell(stop, report);
  }

  #use(stop: Stop, needed: ReadonlySet<number>, misses: number): void {
    const layer = this.#layers[stop.layer];
    if (stop.runsOn) layer.holds += NEWEST * (Number(misses === 0) - layer.holds);
    let useful = 0;
    let expected = 0;
    for (const expert of needed) {
      layer.slots.touch(expert);
      if (layer.ahead.delete(expert)) useful++;
      if (layer.expected.has(expert)) expected++;
    }
    layer.stats.used(needed.size, misses, useful);
    if (layer.expected.size > 0) layer.stats.expected(needed.size, expected);
    layer.expected = new Set();
  }

  /** Brings what a stopped layer misses. Whether the plan is to go on from that layer, and not behind it where passes had to be made. */
  async #provide(plan: Plan, stop: Stop, report: Uint32Array): Promise<boolean> {
    const layer = this.#layers[stop.layer];
    const chosen = chosenIn(report, stop);
    const needed = distinct(chosen);
    const missing = [...needed].filter((expert) => !layer.slots.has(expert));
    invariant(missing.length > 0, `layer ${layer.index} stopped for experts that it has: ${[...needed]}`);
    this.#use(stop, needed, missing.length);
    const start = performance.now();
    try {
      if (needed.size <= layer.slots.count) {
        const brought = this.#bring(layer, needed);
        this.#foretell(stop, report);
        this.#readAhead(stop, report);
        await brought;
        this.#arena.writeTable(layer.index, layer.slots.table);
        return true;
      }
      if (stop.unit === "pairs") await this.#passOverExperts(plan, stop, layer, needed);
      else await this.#passOverRows(plan, stop, layer, chosen);
      return false;
    } finally {
      layer.stats.waited(performance.now() - start);
    }
  }

  /** Each expert once; a pair (row, expert) is computed in the pass that has its expert. */
  async #passOverExperts(plan: Plan, stop: Stop, layer: Layer, needed: ReadonlySet<number>): Promise<void> {
    const { slots } = layer;
    let resume = true;
    for (const pass of expertPasses(needed, slots.count, (expert) => slots.has(expert))) {
      await this.#bring(layer, pass);
      // What other passes compute stays out of this one.
      const table = slots.table.map((slot, expert) => (pass.has(expert) ? slot : 0xffffffff));
      this.#arena.writeTable(layer.index, table);
      this.#pass(plan, stop, resume);
      resume = false;
    }
    this.#arena.writeTable(layer.index, slots.table);
  }

  /** Rows whose experts are all there are computed, until none is left. */
  async #passOverRows(plan: Plan, stop: Stop, layer: Layer, chosen: Uint32Array): Promise<void> {
    const { slots } = layer;
    const open = new Set(Array.from({ length: chosen.length / stop.topK }, (_, row) => row));
    let resume = true;
    while (open.size > 0) {
      const pass = nextRowPass(chosen, stop.topK, open, slots.count, (expert) => slots.has(expert));
      await this.#bring(layer, pass);
      this.#arena.writeTable(layer.index, slots.table);
      this.#pass(plan, stop, resume);
      resume = false;
    }
  }

  #pass(plan: Plan, { from, to }: Stop, resume: boolean): void {
    this.#setMode(MODE.partial);
    this.#arena.submit([this.#encodeRange(plan, from, to, resume).finish()]);
  }

  /** Brings those of `wanted` that are missing; none of them has to go for another. */
  async #bring(layer: Layer, wanted: ReadonlySet<number>): Promise<void> {
    const missing = [...wanted].filter((expert) => !layer.slots.has(expert));
    await eachAtOnce(missing, BROUGHT_AT_ONCE, async (expert) => {
      await this.#place(layer, expert, await this.#read(layer, expert), wanted);
    });
  }

  async #read(layer: Layer, expert: number): Promise<ExpertRows> {
    const at = this.#arrived.findIndex((one) => one.layer === layer.index && one.expert === expert);
    if (at >= 0 || this.#reader.isReading(layer.index, expert)) layer.stats.used(0, 0, 1);
    else layer.stats.read(this.#arena.bytesIn(layer.index));
    if (at >= 0) return this.#arrived.splice(at, 1)[0].rows;
    return this.#reader.read(layer.index, expert);
  }

  async #place(layer: Layer, expert: number, rows: ExpertRows, keep: ReadonlySet<number>): Promise<boolean> {
    if (layer.slots.has(expert)) return false;
    const taken = layer.slots.take(expert, keep);
    if (!taken) return false;
    layer.ahead.delete(taken.evicted);
    await this.#arena.write(layer.index, taken.slot, rows);
    this.#arrived = this.#arrived.filter((other) => other.rows !== rows);
    for (const { release } of rows) release?.();
    return true;
  }

  /** Notes what the layer after `stop` is expected to choose. */
  #foretell(stop: Stop, report: Uint32Array): void {
    const layer = this.#layers[stop.layer + 1];
    if (layer && stop.expected > 0) layer.expected = new Set(expectedIn(report, stop));
  }

  /** Reads what the layer after `stop`, which comes next, is expected to choose and lacks. */
  #readAhead(stop: Stop, report: Uint32Array): void {
    const layer = this.#layers[stop.layer + 1];
    if (!layer || stop.expected === 0) return;
    // Beyond as many as will be chosen, most would be read for nothing.
    const missing = expectedIn(report, stop, stop.topK).filter((expert) => !layer.slots.has(expert));
    this.#reader.expect(layer.index, missing, (expert, rows) => {
      layer.stats.readAhead(this.#arena.bytesIn(layer.index));
      this.#arrived.push({ layer: layer.index, expert, rows });
    });
  }

  /** Puts what was read ahead into slots, but for those of the layer `held`. */
  async #install(held: number | undefined): Promise<void> {
    const arrived = this.#arrived.filter(({ layer }) => layer !== held);
    this.#arrived = this.#arrived.filter(({ layer }) => layer === held);
    const changed = new Set<Layer>();
    for (const one of arrived) {
      const layer = this.#layers[one.layer];
      if (await this.#place(layer, one.expert, one.rows, layer.expected)) {
        layer.ahead.add(one.expert);
        changed.add(layer);
      }
    }
    for (const layer of changed) this.#arena.writeTable(layer.index, layer.slots.table);
  }

  #restoreBatch(): void {
    const encoder = this.#device.gpu.createCommandEncoder();
    this.#copyCounts(encoder);
    this.#arena.submit([encoder.finish()]);
  }
}

const reportBytes = (checked: readonly Stop[]): number => 4 * Math.max(...checked.map(reportEnd));

const isSame = (a: Part, b: Part): boolean =>
  a.from === b.from && a.to === b.to && a.checked.length === b.checked.length && a.resume === b.resume;
