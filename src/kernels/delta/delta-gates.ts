import source from "../../../shaders/delta/delta-gates.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** β and g of the delta rule; it binds `gates`, `negA` and `dtBias`. */
export const deltaGates: Fragment = { name: "delta-gates", source };
