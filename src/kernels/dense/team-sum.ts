import portable from "../../../shaders/dense/team-sum.wgsl?raw";
import subgroups from "../../../shaders/dense/team-sum-subgroups.wgsl?raw";
import type { DeviceProfile } from "../../gpu/profile.ts";
import type { Fragment } from "../../gpu/shader.ts";

const PORTABLE: Fragment = { name: "team-sum", source: portable };
const SUBGROUPS: Fragment = { name: "team-sum-subgroups", source: subgroups };

/** Sums over teams of `lanes` threads. */
export function teamSum({ subgroups, subgroupMinSize, subgroupMaxSize }: DeviceProfile, lanes: number): Fragment {
  return subgroups && subgroupMinSize === lanes && subgroupMaxSize === lanes ? SUBGROUPS : PORTABLE;
}
