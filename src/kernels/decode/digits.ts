import common from "../../../shaders/decode/digits.wgsl?raw";
import nibbles from "../../../shaders/decode/digits-nibbles.wgsl?raw";
import q4 from "../../../shaders/decode/digits-q4.wgsl?raw";
import q4a from "../../../shaders/decode/digits-q4a.wgsl?raw";
import q8 from "../../../shaders/decode/digits-q8.wgsl?raw";
import staged from "../../../shaders/decode/staged-digits.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";
import type { QuantizedFormat, WeightFormat } from "../../weights/format.ts";

/** Activations as pairs of signed bytes and their products with packed weights. */
export const digits: Readonly<Record<QuantizedFormat, Fragment>> = {
  q4: { name: "digits-q4", source: `${common}\n${nibbles}\n${q4}` },
  q4a: { name: "digits-q4a", source: `${common}\n${nibbles}\n${q4a}` },
  q8: { name: "digits-q8", source: `${common}\n${q8}` },
};

/** The input of a workgroup in that form. Needs `sizes` BLOCKS, and one of `digits`. */
export const stagedDigits: Fragment = { name: "staged-digits", source: staged };

/** Whether weights of a format are multiplied as integers. */
export const isPacked = (format: WeightFormat): format is QuantizedFormat => format in digits;

/** Whether they are nibbles, which the kernels of experts want. */
export const isNibbles = (format: WeightFormat): format is "q4" | "q4a" => format === "q4" || format === "q4a";
