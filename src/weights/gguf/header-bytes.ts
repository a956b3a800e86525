import { CheckpointError } from "../../errors.ts";
import type { FileSource } from "../checkpoint.ts";

/** Bytes of the first read; each further one doubles what is there. */
const FIRST_BYTES = 2 ** 20;
/** Vocabularies of a quarter of a million tokens take about 12 MB. More than this is no header. */
const MAX_BYTES = 2 ** 25;

/** The beginning of a file, read on as far as it is asked for, never beyond the file or `MAX_BYTES`. */
export class HeaderBytes {
  readonly label: string;
  readonly fileBytes: number;
  /** Where the next value is read. */
  at = 0;
  readonly #files: FileSource;
  readonly #file: string;
  readonly #signal?: AbortSignal;
  #bytes = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);

  private constructor(files: FileSource, file: string, fileBytes: number, signal?: AbortSignal) {
    this.label = `${files.label}/${file}`;
    this.fileBytes = fileBytes;
    this.#files = files;
    this.#file = file;
    this.#signal = signal;
  }

  /** Fails with `CheckpointError` where there is no such file. */
  static async open(files: FileSource, file: string, signal?: AbortSignal): Promise<HeaderBytes> {
    const fileBytes = await files.size(file, signal);
    if (fileBytes === undefined) throw new CheckpointError(`${files.label}/${file}`, "there is no such file.");
    return new HeaderBytes(files, file, fileBytes, signal);
  }

  /** What `parse` reads from here on. It is called again from its beginning where the bytes at hand did not suffice. */
  async parse<T>(parse: () => T): Promise<T> {
    const start = this.at;
    for (;;) {
      try {
        return parse();
      } catch (error) {
        if (!(error instanceof Underrun)) throw error;
        this.at = start;
        await this.#readUpTo(error.end);
      }
    }
  }

  u8 = (): number => this.#view.getUint8(this.take(1));
  i8 = (): number => this.#view.getInt8(this.take(1));
  u16 = (): number => this.#view.getUint16(this.take(2), true);
  i16 = (): number => this.#view.getInt16(this.take(2), true);
  u32 = (): number => this.#view.getUint32(this.take(4), true);
  i32 = (): number => this.#view.getInt32(this.take(4), true);
  f32 = (): number => this.#view.getFloat32(this.take(4), true);
  f64 = (): number => this.#view.getFloat64(this.take(8), true);
  /** Beyond 2⁵³ the nearest number. */
  u64 = (): number => this.u32() + this.u32() * 2 ** 32;
  i64 = (): number => Number(this.#view.getBigInt64(this.take(8), true));

  string(): string {
    const bytes = this.count(1);
    const from = this.take(bytes);
    return utf8.decode(this.#bytes.subarray(from, from + bytes));
  }

  /** A u64 that counts things of at least so many bytes which follow. */
  count(leastBytes: number): number {
    const count = this.u64();
    if (count * leastBytes > this.fileBytes - this.at) throw this.truncated(`${count} entries`);
    return count;
  }

  /** Steps over so many bytes, and gives where they begin. */
  take(bytes: number): number {
    this.need(bytes);
    this.at += bytes;
    return this.at - bytes;
  }

  /** Goes on only when so many bytes are there. */
  need(bytes: number): void {
    if (this.at + bytes > this.#bytes.length) throw new Underrun(this.at + bytes);
  }

  truncated(what: string): CheckpointError {
    const message = `the header speaks of ${what} at byte ${this.at}, but the file has ${this.fileBytes} bytes. `;
    return new CheckpointError(this.label, `${message}It is truncated or corrupt: download it again.`);
  }

  async #readUpTo(end: number): Promise<void> {
    if (end > this.fileBytes) throw this.truncated(`${end - this.at} bytes more`);
    if (end > MAX_BYTES) {
      throw new CheckpointError(this.label, `a header of more than ${MAX_BYTES} bytes cannot be: the file is corrupt.`);
    }
    const have = this.#bytes.length;
    const size = Math.min(Math.max(FIRST_BYTES, 2 * have, end), this.fileBytes, MAX_BYTES);
    const bytes = new Uint8Array(size);
    bytes.set(this.#bytes);
    bytes.set(await this.#files.read(this.#file, { from: have, to: size }, this.#signal), have);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

const utf8 = new TextDecoder();

/** The bytes up to `end` are needed and not there yet. */
class Underrun {
  constructor(readonly end: number) {}
}
