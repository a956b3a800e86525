import { createHash, timingSafeEqual } from "node:crypto";
import { HttpError } from "./http-error.ts";

/** Tells whether a request brings one of the keys, in a time that does not depend on how much of it is right. */
export class ApiKeys {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  get count(): number {
    return this.#digests.length;
  }

  /** Which key it is; undefined where none are set. Fails with 401. */
  check(headers: Headers): string | undefined {
    if (this.#digests.length === 0) return undefined;
    const given = keyOf(headers);
    if (given === undefined) throw unauthorized("This server wants an API key: Authorization: Bearer <key>.");
    const asked = digest(given);
    // All are compared, so that the time does not tell which key was met.
    const index = this.#digests.reduce((found, key, i) => (timingSafeEqual(key, asked) ? i : found), -1);
    if (index < 0) throw unauthorized("The API key is wrong.");
    return `key ${index}`;
  }
}

function keyOf(headers: Headers): string | undefined {
  const bearer = /^Bearer\s+(.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
  return bearer?.trim() ?? headers.get("x-api-key") ?? headers.get("api-key") ?? undefined;
}

const digest = (key: string): Buffer => createHash("sha256").update(key).digest();

const unauthorized = (message: string): HttpError =>
  new HttpError(message, {
    status: 401,
    code: "invalid_api_key",
    type: "authentication_error",
    headers: { "WWW-Authenticate": "Bearer" },
  });
