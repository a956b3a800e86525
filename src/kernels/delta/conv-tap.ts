import source from "../../../shaders/delta/conv-tap.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** The ring of raw inputs and the formula of the causal convolution, for kernels that bind `factors`. */
export const convTap: Fragment = { name: "conv-tap", source };
