import type { Fragment } from "../../gpu/shader.ts";

/** The sum over `lanes` neighbouring threads, a power of two, of a subgroup that is `subgroup` wide. */
export function laneSum(lanes: number, subgroup: number): Fragment {
  const steps = Array.from({ length: Math.log2(lanes) }, (_, i) => `s += subgroupShuffleXor(s, ${2 ** i}u);`);
  const body = lanes === subgroup ? "return subgroupAdd(x);" : `var s = x; ${steps.join(" ")} return s;`;
  return { name: "lane-sum", source: `fn teamSum(x: f32) -> f32 { ${body} }` };
}
