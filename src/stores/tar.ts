export interface TarEntry {
  readonly name: string;
  readonly sizeBytes: number;
  readonly bytes: AsyncIterable<Uint8Array>;
}

const BLOCK = 512;

/** Files as a tar archive (ustar), which every system opens; `onEnd` is called when it was read or given up. */
export function tarStream(entries: readonly TarEntry[], onEnd: () => Promise<void>): ReadableStream<Uint8Array> {
  const parts = archive(entries);
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await parts.next();
        if (!done) return controller.enqueue(value);
      } catch (error) {
        await onEnd();
        throw error;
      }
      controller.close();
      await onEnd();
    },
    async cancel() {
      await parts.return();
      await onEnd();
    },
  });
}

async function* archive(entries: readonly TarEntry[]): AsyncGenerator<Uint8Array, void> {
  for (const { name, sizeBytes, bytes } of entries) {
    yield header(name, sizeBytes);
    yield* bytes;
    const rest = sizeBytes % BLOCK;
    if (rest > 0) yield new Uint8Array(BLOCK - rest);
  }
  yield new Uint8Array(2 * BLOCK);
}

function header(name: string, sizeBytes: number): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (text: string, at: number) => block.set(new TextEncoder().encode(text), at);
  put(name, 0);
  put("0000644\0", 100);
  put("0000000\0", 108);
  put("0000000\0", 116);
  if (sizeBytes < 8 ** 11) put(`${sizeBytes.toString(8).padStart(11, "0")}\0`, 124);
  else {
    // Larger than 8 GiB: a binary number, as GNU and all others since write it.
    new DataView(block.buffer).setBigUint64(128, BigInt(sizeBytes));
    block[124] = 0x80;
  }
  put("00000000000\0", 136);
  put("        0", 148);
  put("ustar\x0000", 257);
  const sum = block.reduce((all, byte) => all + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}
