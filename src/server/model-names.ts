import { HttpError } from "./http-error.ts";

/** The names one model goes by. */
export class ModelNames {
  /** As it is listed, and named in replies. */
  readonly listed: readonly string[];
  readonly #known: ReadonlySet<string>;
  readonly #isStrict: boolean;

  constructor(label: string, served: readonly string[], isStrict: boolean) {
    this.listed = served.length > 0 ? served : [lastPart(label)];
    const all = [...this.listed, label].flatMap((name) => [name, lastPart(name)]);
    this.#known = new Set(all.map((name) => name.toLowerCase()));
    this.#isStrict = isStrict;
  }

  get first(): string {
    return this.listed[0];
  }

  isKnown(name: string): boolean {
    return this.#known.has(name.toLowerCase());
  }

  /** A warning where another model was asked for. Fails with 404 where that is not allowed. */
  check(asked: string | undefined): string | undefined {
    if (asked === undefined || asked === "" || this.isKnown(asked)) return undefined;
    if (!this.#isStrict) return `the model ${JSON.stringify(asked.slice(0, 100))} is unknown; ${this.first} answers`;
    throw new HttpError(`The model ${JSON.stringify(asked)} does not exist. There is ${this.listed.join(", ")}.`, {
      status: 404,
      code: "model_not_found",
      type: "not_found_error",
      param: "model",
    });
  }
}

/** Of a folder's path, an address, or an owner's model. */
const lastPart = (label: string): string =>
  label
    .replace(/[\\/]+$/, "")
    .split(/[\\/]/)
    .at(-1)!;
