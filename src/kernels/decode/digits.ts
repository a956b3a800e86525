import common from "../../../shaders/decode/digits.wgsl?raw";
import q4 from "../../../shaders/decode/digits-q4.wgsl?raw";
import q8 from "../../../shaders/decode/digits-q8.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";
import type { WeightFormat } from "../../weights/format.ts";

/** Activations as pairs of signed bytes and their products with packed weights. Needs `sizes` LANES, BLOCKS. */
export const digits: Readonly<Record<"q4" | "q8", Fragment>> = {
  q4: { name: "digits-q4", source: `${common}\n${q4}` },
  q8: { name: "digits-q8", source: `${common}\n${q8}` },
};

/** Whether weights of a format are multiplied as integers. */
export const isPacked = (format: WeightFormat): format is "q4" | "q8" => format in digits;
