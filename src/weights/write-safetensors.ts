import { invariant } from "../errors.ts";
import type { TensorLayout } from "./packed-tensors.ts";

/** A tensor to be written: its bytes in parts, as they become ready. */
export interface TensorSource extends TensorLayout {
  readonly sizeBytes: number;
  parts(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A small safetensors file as a whole; tensors lie in the order given. */
export function encodeSafetensors(
  tensors: readonly (TensorLayout & { readonly data: Uint8Array })[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const header = encodeHeader(
    tensors.map(({ data, ...layout }) => ({ ...layout, sizeBytes: data.length })),
    metadata,
  );
  const file = new Uint8Array(tensors.reduce((bytes, { data }) => bytes + data.length, header.length));
  file.set(header);
  let at = header.length;
  for (const { data } of tensors) {
    file.set(data, at);
    at += data.length;
  }
  return file;
}

/** A safetensors file part by part, so that a model need not fit into memory. `write` is awaited before the next part. */
export async function writeSafetensors(
  write: (part: Uint8Array) => Promise<unknown> | unknown,
  tensors: readonly TensorSource[],
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  await write(encodeHeader(tensors, metadata));
  for (const tensor of tensors) {
    let bytes = 0;
    for await (const part of tensor.parts()) {
      await write(part);
      bytes += part.length;
    }
    invariant(
      bytes === tensor.sizeBytes,
      `${tensor.name} has ${bytes} bytes and was announced with ${tensor.sizeBytes}`,
    );
  }
}

function encodeHeader(
  tensors: readonly (TensorLayout & { readonly sizeBytes: number })[],
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  let end = 0;
  for (const { name, dtype, shape, sizeBytes } of tensors) {
    invariant(!(name in header), `two tensors are named ${name}`);
    header[name] = { dtype, shape, data_offsets: [end, end + sizeBytes] };
    end += sizeBytes;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  // Spaces up to a multiple of 8, so that data is aligned in the file.
  const bytes = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}
