import portable from "../../../shaders/sampling/running-sum.wgsl?raw";
import subgroups from "../../../shaders/sampling/running-sum-subgroups.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** `runningSum` of integers for a shader that has a constant WORKGROUP. */
export const runningSum: Fragment = {
  name: "running-sum",
  source: (profile) => (profile.subgroups ? subgroups : portable),
};
