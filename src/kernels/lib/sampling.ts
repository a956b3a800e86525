import source from "../../../shaders/lib/sampling.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** Where a sequence's sampling parameters lie. */
export const samplingFragment: Fragment = { name: "sampling", source };
