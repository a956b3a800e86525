import {
  constants,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { type Span, type StoreIndex, storeError, type WeightStore } from "../../stores/weight-store.ts";

/** Records in files of a folder: one file, with holes where nothing was fetched yet, for each of the model's. */
export class FileStore implements WeightStore {
  readonly kind = "files";
  readonly #folder: string;
  readonly #handles = new Map<string, Promise<FileHandle>>();

  constructor(folder: string) {
    this.#folder = join(folder, "weights");
  }

  async read(file: string, record: Span, part: Span = record): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const handle = await this.#handle(file);
    const bytes = new Uint8Array(part.to - part.from);
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await handle.read(bytes, done, bytes.length - done, part.from + done);
      if (bytesRead === 0) return undefined;
      done += bytesRead;
    }
    return bytes;
  }

  async write(file: string, { from }: Span, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      const handle = await this.#handle(file);
      for (let done = 0; done < bytes.length; ) {
        done += (await handle.write(bytes, done, bytes.length - done, from + done)).bytesWritten;
      }
    } catch (error) {
      throw storeError(error);
    }
  }

  async flush(file: string): Promise<void> {
    await (await this.#handle(file)).datasync();
  }

  async remove(file: string): Promise<void> {
    const handle = this.#handles.get(file);
    this.#handles.delete(file);
    await handle?.then((handle) => handle.close());
    await rm(join(this.#folder, file), { force: true });
  }

  async close(): Promise<void> {
    const handles = [...this.#handles.values()];
    this.#handles.clear();
    for (const handle of handles) await handle.then((handle) => handle.close()).catch(() => {});
  }

  #handle(file: string): Promise<FileHandle> {
    let handle = this.#handles.get(file);
    if (!handle) {
      handle = openOrCreate(this.#folder, file);
      this.#handles.set(file, handle);
      handle.catch(() => this.#handles.delete(file));
    }
    return handle;
  }
}

/** Values in a folder, a file of JSON each. Programs that write the same one at once lose marks, never consistency. */
export class FolderIndex implements StoreIndex {
  readonly #folder: string;
  #last: Promise<unknown> = Promise.resolve();

  constructor(folder: string) {
    this.#folder = join(folder, "index");
  }

  async get<T>(key: string): Promise<T | undefined> {
    const text = await readFile(this.#path(key), "utf8").catch((error) => {
      if (error.code === "ENOENT") return undefined;
      throw storeError(error);
    });
    return text === undefined ? undefined : parse<T>(text);
  }

  update<T>(key: string, edit: (value: T | undefined) => T | undefined): Promise<void> {
    const result = this.#last.then(() => this.#update(key, edit));
    this.#last = result.catch(() => {});
    return result;
  }

  async entries(): Promise<readonly (readonly [string, unknown])[]> {
    const names = await readdir(this.#folder).catch(() => []);
    const keys = names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5).replace(".", "/"));
    const values = await Promise.all(keys.map((key) => this.get(key)));
    return keys.flatMap((key, i) => (values[i] === undefined ? [] : [[key, values[i]] as const]));
  }

  async close(): Promise<void> {
    await this.#last;
  }

  async #update<T>(key: string, edit: (value: T | undefined) => T | undefined): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      const value = edit(await this.get<T>(key));
      if (value === undefined) return await rm(this.#path(key), { force: true });
      // A reader sees the old value or the new one.
      const draft = `${this.#path(key)}.${process.pid}`;
      await writeFile(draft, JSON.stringify(value), { flush: true });
      await rename(draft, this.#path(key)).catch(async (error) => {
        await unlink(draft).catch(() => {});
        throw error;
      });
    } catch (error) {
      throw storeError(error);
    }
  }

  #path(key: string): string {
    return join(this.#folder, `${key.replace("/", ".")}.json`);
  }
}

async function openOrCreate(folder: string, file: string): Promise<FileHandle> {
  await mkdir(folder, { recursive: true });
  return open(join(folder, file), constants.O_RDWR | constants.O_CREAT);
}

/** A value that is no JSON, as after a full disk, stands for nothing stored. */
function parse<T>(text: string): T | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
