import portable from "../../../shaders/moe/team.wgsl?raw";
import subgroups from "../../../shaders/moe/team-subgroups.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** `teamSize` and `teamSum` of the threads that share a row, for a shader that has a constant WORKGROUP. */
export const team: Fragment = {
  name: "team",
  source: (profile) => (profile.subgroups ? subgroups : portable),
};
