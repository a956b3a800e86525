import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { InvalidRequestError } from "../../errors.ts";
import { MANIFEST } from "../../weights/packed/manifest.ts";
import type { PackTarget } from "../../weights/packed/write-pack.ts";
import { FolderSource } from "./folder-source.ts";

/** A folder that becomes a packed store. */
export class PackFolder implements PackTarget {
  readonly label: string;
  readonly #reader: FolderSource;
  readonly #handles = new Map<string, FileHandle>();

  private constructor(folder: string, reader: FolderSource) {
    this.label = folder;
    this.#reader = reader;
  }

  /** Makes the folder. Fails with `InvalidRequestError` where it has other files than those of a packed store. */
  static async create(folder: string): Promise<PackFolder> {
    await mkdir(folder, { recursive: true }).catch((cause) => {
      throw new InvalidRequestError("the folder", `${folder} cannot be made (${cause.code}).`);
    });
    const foreign = (await readdir(folder)).find((name) => !OURS.test(name));
    if (foreign) {
      throw new InvalidRequestError("the folder", `${folder} holds other files (${foreign}). Choose an empty one.`);
    }
    return new PackFolder(folder, await FolderSource.open(folder));
  }

  size(name: string): Promise<number | undefined> {
    return this.#reader.size(name);
  }

  read(name: string, range?: { from: number; to: number }): Promise<Uint8Array<ArrayBuffer>> {
    return this.#reader.read(name, range);
  }

  async write(name: string, at: number, bytes: Uint8Array): Promise<void> {
    let handle = this.#handles.get(name);
    if (!handle) {
      const path = join(this.label, name);
      handle = await open(path, "r+").catch(() => open(path, "w+"));
      this.#handles.set(name, handle);
    }
    for (let done = 0; done < bytes.length; ) {
      done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    }
  }

  async replace(name: string, bytes: Uint8Array): Promise<void> {
    await Promise.all([...this.#handles.values()].map((handle) => handle.sync()));
    const path = join(this.label, name);
    const whole = await open(`${path}${NEW}`, "w");
    try {
      await whole.writeFile(bytes);
      await whole.sync();
    } finally {
      await whole.close();
    }
    await this.#release(name);
    await rename(`${path}${NEW}`, path);
  }

  async remove(name: string): Promise<void> {
    await this.#release(name);
    await rm(join(this.label, name), { force: true });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#handles.values()].map((handle) => handle.close()));
    this.#handles.clear();
    await this.#reader.close();
  }

  async #release(name: string): Promise<void> {
    await this.#handles.get(name)?.close();
    this.#handles.delete(name);
  }
}

/** A file on its way to its name. */
const NEW = ".new";

const OURS = new RegExp(
  `^(${MANIFEST.replaceAll(".", "\\.")}(\\.unfinished)?|weights-\\d{5}\\.bin|tokenizer(_config)?\\.json|chat_template\\.jinja)(\\${NEW})?$`,
);
