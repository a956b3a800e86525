import { sha256 } from "../weights/packed/sha256.ts";

/** A key of 128 bits for some words, the same on every device. */
export async function keyOf(...words: readonly (string | number | undefined)[]): Promise<string> {
  return (await sha256(new TextEncoder().encode(JSON.stringify(words)))).slice(0, 32);
}
