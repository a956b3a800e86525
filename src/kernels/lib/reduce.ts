import portable from "../../../shaders/lib/reduce.wgsl?raw";
import solo from "../../../shaders/lib/reduce-solo.wgsl?raw";
import subgroups from "../../../shaders/lib/reduce-subgroups.wgsl?raw";
import { type DeviceProfile, soloSubgroup } from "../../gpu/profile.ts";
import type { Fragment } from "../../gpu/shader.ts";

/** `workgroupSum` and `workgroupMax` for a shader that has a constant WORKGROUP, `reduceThreads` of the device. */
export const reduce: Fragment = {
  name: "reduce",
  source: (profile) => {
    if (soloSubgroup(profile)) return solo;
    return profile.subgroups ? subgroups : portable;
  },
};

/** Threads of a workgroup that reduces: 64, or one subgroup where waiting for others is dear. */
export const reduceThreads = (profile: DeviceProfile): number => soloSubgroup(profile) ?? 64;
