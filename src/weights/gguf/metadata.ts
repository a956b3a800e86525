import { CheckpointError, UnsupportedModelError } from "../../errors.ts";
import type { GgufMetadata, GgufValue } from "./header.ts";

/** `general.architecture`, and what Hugging Face calls it. */
const MODEL_TYPES: Readonly<Record<string, string>> = {
  qwen3next: "qwen3_next",
  qwen35: "qwen3_5_text",
  qwen35moe: "qwen3_5_moe_text",
};

/** A file's metadata, asked for by key; keys of the architecture go without its name. */
export class Metadata {
  readonly architecture: string;
  readonly modelType: string;
  readonly #label: string;
  readonly #values: GgufMetadata;

  /** Fails with `UnsupportedModelError` for an architecture outside the family. */
  constructor(label: string, values: GgufMetadata) {
    const architecture = values.get("general.architecture");
    if (typeof architecture !== "string") {
      throw new CheckpointError(label, "it does not say its general.architecture: the file is no model, or corrupt.");
    }
    const modelType = MODEL_TYPES[architecture];
    if (modelType === undefined) {
      const known = Object.keys(MODEL_TYPES).join(", ");
      throw new UnsupportedModelError(`${label} is of architecture ${architecture}; Sluice runs ${known}.`);
    }
    this.#label = label;
    this.#values = values;
    this.architecture = architecture;
    this.modelType = modelType;
  }

  get(key: string): GgufValue | undefined {
    return this.#values.get(key);
  }

  text(key: string): string | undefined {
    const value = this.#values.get(key);
    return typeof value === "string" ? value : undefined;
  }

  number(key: string): number | undefined {
    const value = this.#values.get(key);
    return typeof value === "number" ? shortest(value) : undefined;
  }

  /** A number of the architecture. Where there is one for each layer, the largest. */
  ofModel(key: string): number | undefined {
    const value = this.#values.get(`${this.architecture}.${key}`);
    if (ArrayBuffer.isView(value)) {
      let largest: number | undefined;
      for (const number of value) largest = Math.max(largest ?? number, number);
      return largest;
    }
    return typeof value === "number" ? shortest(value) : undefined;
  }

  /** The same, which has to be there. */
  required(key: string): number {
    const value = this.ofModel(key);
    if (value !== undefined) return value;
    throw new CheckpointError(this.#label, `${this.architecture}.${key} is missing: the file is incomplete.`);
  }
}

/** The decimal fraction that was meant by an f32: 1e-6 instead of 9.999999974752427e-7. */
function shortest(value: number): number {
  const short = Number(value.toPrecision(7));
  return Math.fround(short) === value ? short : value;
}
