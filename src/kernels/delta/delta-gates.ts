import source from "../../../shaders/delta/delta-gates.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** β and g of the delta rule, for kernels that bind `gates`, `negA` and `dtBias`. */
export const deltaGates: Fragment = { name: "delta-gates", source };
