import { readFile } from "node:fs/promises";
import { InvalidRequestError } from "../errors.ts";

/** Reads a JSON array of token ids. */
export async function readTokens(path: string): Promise<number[]> {
  let ids: unknown;
  try {
    ids = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new InvalidRequestError("--tokens", `${path} cannot be read: ${(error as Error).message}.`);
  }
  const isId = (id: unknown) => Number.isInteger(id) && (id as number) >= 0;
  if (!Array.isArray(ids) || ids.length === 0 || !ids.every(isId)) {
    throw new InvalidRequestError("--tokens", `${path} must hold a JSON array of token ids, such as [1, 2, 3].`);
  }
  return ids;
}
