import gatedRmsNorm from "../../../shaders/decode/input-gated-rms-norm.wgsl?raw";
import plain from "../../../shaders/decode/input-plain.wgsl?raw";
import rmsNorm from "../../../shaders/decode/input-rms-norm.wgsl?raw";
import x8 from "../../../shaders/decode/x8.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** What a product makes of x while it stages it. */
export const inputs: Readonly<Record<"plain" | "rmsNorm" | "gatedRmsNorm", Fragment>> = {
  plain: {
    name: "input-plain",
    source: `${x8}
${plain}`,
  },
  rmsNorm: {
    name: "input-rms-norm",
    source: `${x8}
${rmsNorm}`,
  },
  gatedRmsNorm: {
    name: "input-gated-rms-norm",
    source: `${x8}
${gatedRmsNorm}`,
  },
};
