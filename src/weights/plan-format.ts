import type { Quantization } from "../api/types.ts";
import { canQuantize } from "./convert.ts";
import { isQuantized, type WeightFormat, type WeightSource } from "./format.ts";

/**
 * The format a weight takes on the device. `auto` keeps what the checkpoint stores. Quantisation stops where it would
 * hurt: the embedding and the head at q8, what picks experts and gates decay at bf16, vectors at f32.
 */
export function deviceFormat(source: WeightSource, quantization: Quantization): WeightFormat {
  if (source.role === "vector") return "f32";
  const format = quantization === "auto" ? (source.auto ?? source.format) : quantized(source, quantization);
  const fallback = source.format === "f16" ? "f16" : "bf16";
  if (isQuantized(format) && (source.role === "sensitive" || !canQuantize(source.columns))) {
    return isQuantized(source.format) ? source.format : fallback;
  }
  return format;
}

/** No 4 bits for a table whose rows are tokens. What is stored in 4 bits already stays as it is. */
function quantized({ role, format }: WeightSource, wanted: WeightFormat): WeightFormat {
  if (!isNibbles(wanted)) return wanted;
  if (isNibbles(format)) return format;
  return role === "embedding" || role === "head" ? "q8" : wanted;
}

const isNibbles = (format: WeightFormat): boolean => format === "q4" || format === "q4a";
