import type { Quantization } from "../api/types.ts";
import { canQuantize } from "./convert.ts";
import { isQuantized, type WeightFormat, type WeightSource } from "./format.ts";

/**
 * The format a weight takes on the device. `auto` keeps what the checkpoint stores. Quantisation stops where it would
 * hurt: the embedding and the head at q8, what picks experts and gates decay at bf16, vectors at f32.
 */
export function deviceFormat(source: WeightSource, quantization: Quantization): WeightFormat {
  if (source.role === "vector") return "f32";
  const wanted = quantization === "auto" ? (source.auto ?? source.format) : quantization;
  const format = wanted === "q4" ? quarter(source) : wanted;
  const fallback = source.format === "f16" ? "f16" : "bf16";
  if (isQuantized(format) && (source.role === "sensitive" || !canQuantize(source.columns))) {
    return isQuantized(source.format) ? source.format : fallback;
  }
  return format;
}

/** 4 bits, except for a table whose rows are tokens. What is stored in 4 bits already stays as it is. */
function quarter({ role, format }: WeightSource): WeightFormat {
  if (format === "q4" || format === "q4a") return format;
  return role === "embedding" || role === "head" ? "q8" : "q4";
}
