import portable from "../../../shaders/lib/reduce.wgsl?raw";
import subgroups from "../../../shaders/lib/reduce-subgroups.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** `workgroupSum` and `workgroupMax` for a shader that has a constant WORKGROUP, its number of threads. */
export const reduce: Fragment = {
  name: "reduce",
  source: (profile) => (profile.subgroups ? subgroups : portable),
};
