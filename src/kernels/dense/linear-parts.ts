import input1 from "../../../shaders/dense/input1.wgsl?raw";
import input4 from "../../../shaders/dense/input4.wgsl?raw";
import plus from "../../../shaders/dense/plus.wgsl?raw";
import plusNone from "../../../shaders/dense/plus-none.wgsl?raw";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { weightFragments } from "../lib/weights.ts";

const PLUS: Fragment = { name: "plus", source: plus };
const NO_PLUS: Fragment = { name: "plus-none", source: plusNone };
const INPUT1: Fragment = { name: "input1", source: input1 };
const INPUT4: Fragment = { name: "input4", source: input4 };

/** The fragments of a matrix product: how x and W are read, and what is added. */
export function linearParts(x: GpuTensor, weight: GpuWeight, plus: GpuTensor | undefined): Fragment[] {
  const isAligned = x.offset % 4 === 0 && (x.stride % 4 === 0 || x.rows === 1);
  return [isAligned ? INPUT4 : INPUT1, plus ? PLUS : NO_PLUS, weightFragments[weight.format]];
}
