/** What travels over a link: a header, which is JSON, and numbers. */
export interface Frame {
  readonly header: Readonly<Record<string, unknown>>;
  /** Starts at a multiple of 4 in its buffer, and is as long as one. */
  readonly payload: Uint8Array<ArrayBuffer>;
}

export type Numbers = Uint8Array | Uint32Array | Float32Array;

/** A frame that nobody can read. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** "SLC1", and the header's length: 4 bytes each, the lowest first. The header is filled up to a multiple of 4 with spaces. */
const MAGIC = 0x31434c53;
const START = 8;

/** Bytes that a header may have. */
const MAX_HEADER = 2 ** 16;

export function encodeFrame(header: object, ...parts: readonly Numbers[]): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const headerBytes = Math.ceil(json.length / 4) * 4;
  const bytes = new Uint8Array(START + headerBytes + parts.reduce((sum, part) => sum + part.byteLength, 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, headerBytes, true);
  bytes.set(json, START);
  bytes.fill(0x20, START + json.length, START + headerBytes);
  let at = START + headerBytes;
  for (const part of parts) {
    bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return bytes;
}

/** @throws FrameError */
export function decodeFrame(buffer: ArrayBuffer): Frame {
  const view = new DataView(buffer);
  if (buffer.byteLength < START || view.getUint32(0, true) !== MAGIC) throw new FrameError("it does not begin as one.");
  const headerBytes = view.getUint32(4, true);
  const end = START + headerBytes;
  if (headerBytes > MAX_HEADER) throw new FrameError(`its header has ${headerBytes} bytes, of ${MAX_HEADER} allowed.`);
  if (headerBytes % 4 !== 0 || end > buffer.byteLength || buffer.byteLength % 4 !== 0) {
    throw new FrameError(`${buffer.byteLength} bytes are not a header of ${headerBytes} and whole numbers.`);
  }
  return { header: parse(new Uint8Array(buffer, START, headerBytes)), payload: new Uint8Array(buffer, end) };
}

export const floats = ({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> =>
  new Float32Array(buffer, byteOffset, byteLength / 4);

export const words = ({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): Uint32Array<ArrayBuffer> =>
  new Uint32Array(buffer, byteOffset, byteLength / 4);

function parse(bytes: Uint8Array): Frame["header"] {
  try {
    const header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof header === "object" && header !== null && !Array.isArray(header)) return header;
  } catch {}
  throw new FrameError("its header is not a JSON object.");
}
