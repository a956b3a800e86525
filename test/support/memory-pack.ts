import type { PackTarget } from "../../src/weights/packed/write-pack.ts";

/** Files in memory that a packed store is written to and read from; remembers the ranges that were read. */
export class MemoryPack implements PackTarget {
  readonly label = "memory";
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly reads: { readonly name: string; readonly from: number; readonly to: number }[] = [];
  /** Called before each write; what it throws is what writing fails with. */
  onWrite: (name: string) => void = () => {};

  async size(name: string): Promise<number | undefined> {
    return this.files.get(name)?.length;
  }

  async read(name: string, range?: { from: number; to: number }): Promise<Uint8Array<ArrayBuffer>> {
    const file = this.files.get(name)!;
    const { from, to } = range ?? { from: 0, to: file.length };
    this.reads.push({ name, from, to });
    return file.slice(from, to);
  }

  async write(name: string, at: number, bytes: Uint8Array): Promise<void> {
    this.onWrite(name);
    const old = this.files.get(name) ?? new Uint8Array(0);
    const size = Math.max(old.length, at + bytes.length);
    const isRoomy = old.buffer.byteLength >= size;
    const file = new Uint8Array(isRoomy ? old.buffer : new ArrayBuffer(2 * size), 0, size);
    if (!isRoomy) file.set(old);
    file.set(bytes, at);
    this.files.set(name, file);
  }

  async replace(name: string, bytes: Uint8Array): Promise<void> {
    this.onWrite(name);
    this.files.set(name, bytes.slice());
  }

  copy(): MemoryPack {
    const copy = new MemoryPack();
    for (const [name, file] of this.files) copy.files.set(name, file.slice());
    return copy;
  }

  async remove(name: string): Promise<void> {
    this.files.delete(name);
  }
}
