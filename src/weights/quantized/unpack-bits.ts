/** Codes as `AffineRows` takes them: those of 4 bits stay as they are. */
export const codesOf = (bytes: Uint8Array, rows: number, columns: number, bits: number) =>
  bits === 4 ? { nibbles: bytes } : unpackBits(bytes, rows, columns, bits);

/**
 * Codes [rows, columns] of `bits` each (8 at most) from rows that are little-endian streams of bits, the first code in the lowest;
 * each row fills whole words of 32 bits.
 */
export function unpackBits(bytes: Uint8Array, rows: number, columns: number, bits: number): Uint8Array {
  const rowBytes = rowBytesOf(columns, bits);
  if (bits === 8 && rowBytes === columns) return bytes;
  const codes = new Uint8Array(rows * columns);
  const mask = 2 ** bits - 1;
  for (let row = 0; row < rows; row++) {
    const start = row * rowBytes;
    const end = (row + 1) * columns;
    for (let i = row * columns, bit = 0; i < end; i++, bit += bits) {
      const at = start + (bit >> 3);
      codes[i] = ((bytes[at] | (bytes[at + 1] << 8)) >> (bit & 7)) & mask;
    }
  }
  return codes;
}

/** Bytes of a row of so many codes. */
export const rowBytesOf = (columns: number, bits: number): number => Math.ceil((columns * bits) / 32) * 4;
