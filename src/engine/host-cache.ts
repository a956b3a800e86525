import type { Snapshot } from "./prefix-tree.ts";
import type { HostBytes, StateTransfer } from "./runner.ts";

/** A snapshot on the host. */
export interface HostCopy {
  readonly length: number;
  readonly state: Cell;
  readonly blocks: readonly Cell[];
  /** Tells who knows of it that it is gone. */
  readonly onDrop: () => void;
}

/** A recurrent state or a KV block on the host, or on its way there. */
interface Cell {
  readonly sizeBytes: number;
  holders: number;
  /** The device's block that this is a copy of, while that is known to hold the same. */
  block?: number;
  bytes?: HostBytes;
}

/**
 * Snapshots that had to leave the device, within so many bytes of host memory; the longest unused goes first. They are copied
 * while the device goes on. Copies of prefixes of each other share their whole blocks, as the snapshots did.
 */
export class HostCache {
  readonly #transfer: StateTransfer;
  readonly #blockTokens: number;
  readonly #kept = new Set<HostCopy>();
  readonly #cells = new Map<number, Cell>();
  /** Milliseconds for a byte, the best that was seen. */
  #msPerByte = Number.POSITIVE_INFINITY;
  bytes = 0;

  constructor(
    transfer: StateTransfer,
    blockTokens: number,
    readonly maxBytes: number,
  ) {
    this.#transfer = transfer;
    this.#blockTokens = blockTokens;
  }

  get copies(): number {
    return this.#kept.size;
  }

  /** Copies a snapshot that is about to go. Undefined where it does not fit. */
  save({ length, slot, blocks }: Snapshot, onDrop: () => void): HostCopy | undefined {
    const { slotBytes, blockBytes } = this.#transfer;
    if (slotBytes + blocks.length * blockBytes > this.maxBytes) return undefined;
    const cells = blocks.map((block, i): Cell => {
      // What lies behind `length` in the last block may still change.
      const isWhole = i < this.#whole(length);
      const known = isWhole ? this.#cells.get(block) : undefined;
      return known ?? { sizeBytes: blockBytes, holders: 0, block: isWhole ? block : undefined };
    });
    const copy: HostCopy = { length, state: { sizeBytes: slotBytes, holders: 0 }, blocks: cells, onDrop };
    const missing = [...cells.keys()].filter((i) => cells[i].holders === 0);
    for (const cell of [copy.state, ...cells]) this.#hold(cell);
    for (const oldest of this.#kept) {
      if (this.bytes <= this.maxBytes) break;
      this.drop(oldest);
    }
    this.#kept.add(copy);
    void this.#download(copy, slot, blocks, missing);
    return copy;
  }

  /** Whether all of a copy has arrived. */
  isReady({ state, blocks }: HostCopy): boolean {
    return state.bytes !== undefined && blocks.every(({ bytes }) => bytes);
  }

  /** Milliseconds that `load` may take. */
  loadMs({ blocks }: HostCopy, from: number): number {
    const { slotBytes, blockBytes } = this.#transfer;
    return (slotBytes + (blocks.length - from) * blockBytes) * this.#msPerByte;
  }

  /** Copies the state to a slot, and the KV blocks from `from` on to those of `blocks` in the same places. */
  load({ length, state, blocks: cells }: HostCopy, slot: number, blocks: readonly number[], from: number): void {
    const coming = cells.slice(from).map(({ bytes }, i) => ({ block: blocks[from + i], bytes: bytes! }));
    this.#transfer.upload({ slot, bytes: state.bytes! }, coming);
    for (let i = from; i < this.#whole(length); i++) {
      if (cells[i].holders === 0 || cells[i].block !== undefined) continue;
      cells[i].block = blocks[i];
      this.#cells.set(blocks[i], cells[i]);
    }
  }

  touch(copy: HostCopy): void {
    if (this.#kept.delete(copy)) this.#kept.add(copy);
  }

  drop(copy: HostCopy): void {
    if (!this.#kept.delete(copy)) return;
    for (const cell of [copy.state, ...copy.blocks]) {
      if (--cell.holders > 0) continue;
      this.bytes -= cell.sizeBytes;
      if (cell.block !== undefined) this.forget(cell.block);
    }
    copy.onDrop();
  }

  /** The device's block will hold something else. */
  forget(block: number): void {
    const cell = this.#cells.get(block);
    if (cell) cell.block = undefined;
    this.#cells.delete(block);
  }

  clear(): void {
    for (const copy of [...this.#kept]) this.drop(copy);
  }

  #whole(length: number): number {
    return Math.floor(length / this.#blockTokens);
  }

  #hold(cell: Cell): void {
    if (cell.holders++ > 0) return;
    this.bytes += cell.sizeBytes;
    if (cell.block !== undefined) this.#cells.set(cell.block, cell);
  }

  async #download(copy: HostCopy, slot: number, blocks: readonly number[], missing: readonly number[]): Promise<void> {
    const startMs = performance.now();
    try {
      const wanted = missing.map((i) => blocks[i]);
      const arrived = await this.#transfer.download(slot, wanted);
      copy.state.bytes = arrived.slot;
      for (const [i, bytes] of arrived.blocks.entries()) copy.blocks[missing[i]].bytes = bytes;
      const { slotBytes, blockBytes } = this.#transfer;
      const ms = (performance.now() - startMs) / (slotBytes + missing.length * blockBytes);
      this.#msPerByte = Math.min(this.#msPerByte, ms);
    } catch {
      // The device is gone, or has no memory to spare.
      this.drop(copy);
    }
  }
}
