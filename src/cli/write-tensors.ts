import { access, constants, open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { InvalidRequestError } from "../errors.ts";
import { writeSafetensors } from "../weights/write-safetensors.ts";

export interface HostArray {
  readonly name: string;
  readonly dtype: "F32" | "I32";
  readonly shape: readonly number[];
  /** The elements, in order. */
  readonly parts: readonly (Float32Array | Uint32Array)[];
}

/** Fails with `InvalidRequestError` if no file can be made at `path`: better before hours of work than after. */
export async function checkWritable(path: string): Promise<void> {
  await access(dirname(resolve(path)), constants.W_OK).catch((error: Error) => {
    throw new InvalidRequestError("--out", `${path} cannot be written: ${error.message}.`);
  });
}

/** Writes arrays (empty ones are left out) as a safetensors file, which is then there as a whole or not at all. */
export async function writeTensors(path: string, arrays: readonly HostArray[]): Promise<void> {
  const unfinished = `${path}.${process.pid}.part`;
  try {
    const file = await open(unfinished, "w");
    try {
      await writeSafetensors(
        (part) => file.writeFile(part),
        arrays
          .filter(({ parts }) => parts.length > 0)
          .map(({ parts, ...layout }) => ({
            ...layout,
            sizeBytes: parts.reduce((sum, { byteLength }) => sum + byteLength, 0),
            parts: () =>
              parts.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
          })),
      );
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}
