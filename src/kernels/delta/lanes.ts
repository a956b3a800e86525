import portable from "../../../shaders/delta/lane-sum.wgsl?raw";
import subgroups from "../../../shaders/delta/lane-sum-subgroups.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** Shares columns of S between `count` threads, a power of two: sizes of arrays, which WGSL wants as constants, and sums. */
export const lanes = (count: number, keyDim: number): Fragment => ({
  name: `lanes-${count}`,
  source: (profile) =>
    `const LANES = ${count}u;\nconst PARTS = ${keyDim / 4 / count}u;\n` +
    (profile.subgroups && profile.subgroupMinSize >= count ? subgroups : portable),
});
