import { BLOCKS } from "./gguf-blocks.ts";

/** A value of the metadata: whole numbers are written as u32, others say as what. */
export type GgufField = string | boolean | number | { readonly f32: number } | readonly string[] | readonly number[];

export interface GgufTensorData {
  readonly name: string;
  /** As Hugging Face orders dimensions. */
  readonly shape: readonly number[];
  /** A name of BLOCKS, or the id of a type. */
  readonly type: string | number;
  readonly data: Uint8Array;
}

export interface GgufOptions {
  readonly version?: number;
  readonly alignment?: number;
}

/** The bytes of a GGUF file. */
export function writeGguf(
  metadata: Readonly<Record<string, GgufField>>,
  tensors: readonly GgufTensorData[],
  { version = 3, alignment = 32 }: GgufOptions = {},
): Uint8Array<ArrayBuffer> {
  const out = new Out();
  const fields = { ...metadata, ...(alignment !== 32 && { "general.alignment": alignment }) };
  out.bytes(new TextEncoder().encode("GGUF"));
  out.u32(version);
  out.u64(tensors.length);
  out.u64(Object.keys(fields).length);
  for (const [key, value] of Object.entries(fields)) {
    out.string(key);
    writeField(out, value);
  }
  let offset = 0;
  for (const { name, shape, type, data } of tensors) {
    out.string(name);
    out.u32(shape.length);
    for (const size of shape.toReversed()) out.u64(size);
    out.u32(typeof type === "number" ? type : BLOCKS[type].id);
    out.u64(offset);
    offset += Math.ceil(data.length / alignment) * alignment;
  }
  for (const { data } of tensors) {
    out.align(alignment);
    out.bytes(data);
  }
  // Where there is no data, the data section is empty, but aligned.
  if (tensors.length === 0) out.align(alignment);
  return out.whole();
}

/** A model in parts, as `gguf-split` makes them: all metadata in the first. */
export function writeSplit(
  metadata: Readonly<Record<string, GgufField>>,
  tensors: readonly GgufTensorData[],
  parts: number,
): Uint8Array<ArrayBuffer>[] {
  const size = Math.ceil(tensors.length / parts);
  return Array.from({ length: parts }, (_, part) => {
    const split = { "split.no": part, "split.count": parts, "split.tensors.count": tensors.length };
    return writeGguf(part === 0 ? { ...metadata, ...split } : split, tensors.slice(part * size, (part + 1) * size));
  });
}

function writeField(out: Out, value: GgufField): void {
  if (typeof value === "string") {
    out.u32(8);
    out.string(value);
  } else if (typeof value === "boolean") {
    out.u32(7);
    out.bytes(Uint8Array.of(value ? 1 : 0));
  } else if (typeof value === "number") {
    out.u32(4);
    out.u32(value);
  } else if ("f32" in value) {
    out.u32(6);
    out.bytes(new Uint8Array(Float32Array.of(value.f32).buffer));
  } else {
    out.u32(9);
    out.u32(typeof value[0] === "string" ? 8 : 5);
    out.u64(value.length);
    for (const item of value) typeof item === "string" ? out.string(item) : out.u32(item);
  }
}

class Out {
  #bytes = new Uint8Array(2 ** 16);
  #length = 0;

  u32(value: number): void {
    this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }

  u64(value: number): void {
    this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  align(to: number): void {
    this.bytes(new Uint8Array((to - (this.#length % to)) % to));
  }

  bytes(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = needed;
  }

  whole(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }
}
