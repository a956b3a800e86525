/** The same bytes as 16-bit words; a copy only where they do not lie on a 2-byte boundary. */
export function aligned16(bytes: Uint8Array): Uint16Array {
  const at = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return new Uint16Array(at.buffer, at.byteOffset, at.byteLength >> 1);
}

/** The same bytes as 32-bit words; a copy only where they do not lie on a 4-byte boundary. */
export function aligned32(bytes: Uint8Array): Uint32Array {
  const at = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(at.buffer, at.byteOffset, at.byteLength >> 2);
}

export const bytesOf = (view: ArrayBufferView): Uint8Array =>
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
