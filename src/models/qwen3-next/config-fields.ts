import { UnsupportedModelError } from "../../errors.ts";

export type Json = Readonly<Record<string, unknown>>;

/** A whole number of at least `least`, or `UnsupportedModelError` naming the field. */
export const wholeNumber = (name: string, value: unknown, least = 1): number =>
  field(name, value, (x) => Number.isSafeInteger(x) && x >= least, `a whole number from ${least}`);

/** A number that `accepts`, or `UnsupportedModelError` naming the field and what was `wanted`. */
export function field(name: string, value: unknown, accepts: (value: number) => boolean, wanted: string): number {
  if (typeof value === "number" && accepts(value)) return value;
  throw new UnsupportedModelError(`config.json: ${name} is ${JSON.stringify(value)}; it must be ${wanted}.`);
}
