/** SHA-256 in hexadecimal. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A key of 128 bits for some words, the same on every device. */
export async function keyOf(...words: readonly (string | number | undefined)[]): Promise<string> {
  return (await sha256(new TextEncoder().encode(JSON.stringify(words)))).slice(0, 32);
}
