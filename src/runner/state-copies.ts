import type { HostBytes, StateTransfer } from "../engine/runner.ts";
import type { Device } from "../gpu/device.ts";
import type { RunnerParts } from "./memory-plan.ts";

/** Bytes somewhere in a buffer. */
interface Place {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
}

/** Copies recurrent states and KV blocks: to other slots and blocks, to the host, and back. */
export class StateCopies implements StateTransfer {
  readonly #device: Device;
  readonly #parts: Pick<RunnerParts, "states" | "limits" | "spareBlock">;
  readonly slotBytes: number;
  readonly blockBytes: number;

  constructor(device: Device, parts: Pick<RunnerParts, "states" | "limits" | "spareBlock">) {
    this.#device = device;
    this.#parts = parts;
    this.slotBytes = sum(this.#slot(0));
    this.blockBytes = sum(this.#block(0));
  }

  copyState(from: number, to: number): void {
    const target = this.#slot(to);
    this.#submit((encoder) => {
      for (const [i, { buffer, offset, bytes }] of this.#slot(from).entries()) {
        encoder.copyBufferToBuffer(buffer, offset, target[i].buffer, target[i].offset, bytes);
      }
    });
  }

  copyBlock(from: number, to: number): void {
    const { spareBlock } = this.#parts;
    this.#submit((encoder) => {
      for (const isComing of [false, true]) {
        let at = 0;
        for (const { buffer, offset, bytes } of this.#block(isComing ? to : from)) {
          if (isComing) encoder.copyBufferToBuffer(spareBlock.gpu!, at, buffer, offset, bytes);
          else encoder.copyBufferToBuffer(buffer, offset, spareBlock.gpu!, at, bytes);
          at += bytes;
        }
      }
    });
  }

  async download(slot: number, blocks: readonly number[]): Promise<{ slot: HostBytes; blocks: HostBytes[] }> {
    const wanted = [this.#slot(slot), ...blocks.map((block) => this.#block(block))];
    const staging = wanted.map((places) =>
      this.#device.gpu.createBuffer({
        label: "state to the host",
        size: sum(places),
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      }),
    );
    this.#submit((encoder) => {
      for (const [i, places] of wanted.entries()) {
        let at = 0;
        for (const { buffer, offset, bytes } of places) {
          encoder.copyBufferToBuffer(buffer, offset, staging[i], at, bytes);
          at += bytes;
        }
      }
    });
    try {
      const [first, ...rest] = await Promise.all(
        staging.map(async (buffer) => {
          await buffer.mapAsync(GPUMapMode.READ);
          return new Uint8Array(buffer.getMappedRange().slice(0));
        }),
      );
      return { slot: first, blocks: rest };
    } finally {
      for (const buffer of staging) buffer.destroy();
    }
  }

  upload(state: { slot: number; bytes: HostBytes }, blocks: readonly { block: number; bytes: HostBytes }[]): void {
    this.#write(this.#slot(state.slot), state.bytes);
    for (const { block, bytes } of blocks) this.#write(this.#block(block), bytes);
  }

  /** Where the recurrent state in a slot lies. */
  #slot(slot: number): Place[] {
    const { states, limits } = this.#parts;
    const live = limits.maxSequences;
    return states.flatMap((state) => {
      if (state.kind === "kv") return [];
      return (["conv", "delta"] as const).map((part): Place => {
        const bytes = state[part].sizeBytes / live;
        if (slot < live) return { buffer: state[part].gpu!, offset: slot * bytes, bytes };
        return { buffer: state.snapshots[part].gpu!, offset: (slot - live) * bytes, bytes };
      });
    });
  }

  #block(block: number): Place[] {
    const { states, limits } = this.#parts;
    const caches = states.flatMap((state) => (state.kind === "kv" ? [state.keys, state.values] : []));
    return caches.map(({ gpu, sizeBytes }): Place => {
      const bytes = sizeBytes / limits.blocks;
      return { buffer: gpu!, offset: block * bytes, bytes };
    });
  }

  #write(places: readonly Place[], data: HostBytes): void {
    let at = 0;
    for (const { buffer, offset, bytes } of places) {
      this.#device.queue.writeBuffer(buffer, offset, data, at, bytes);
      at += bytes;
    }
  }

  #submit(record: (encoder: GPUCommandEncoder) => void): void {
    const encoder = this.#device.gpu.createCommandEncoder({ label: "copy state" });
    record(encoder);
    this.#device.queue.submit([encoder.finish()]);
  }
}

const sum = (places: readonly Place[]): number => places.reduce((total, { bytes }) => total + bytes, 0);
