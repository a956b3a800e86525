import inputAligned from "../../../shaders/dense/input-aligned.wgsl?raw";
import inputAny from "../../../shaders/dense/input-any.wgsl?raw";
import outputAligned from "../../../shaders/dense/output-aligned.wgsl?raw";
import outputAny from "../../../shaders/dense/output-any.wgsl?raw";
import plusAligned from "../../../shaders/dense/plus-aligned.wgsl?raw";
import plusAny from "../../../shaders/dense/plus-any.wgsl?raw";
import plusNone from "../../../shaders/dense/plus-none.wgsl?raw";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { weightFragments } from "../lib/weights.ts";

/** The fragments of a matrix product: how x and W are read, what is added, and how y is written. */
export const linearParts = (x: GpuTensor, weight: GpuWeight, plus: GpuTensor | undefined): Fragment[] => [
  isAligned(x) ? INPUT_ALIGNED : INPUT_ANY,
  weightFragments[weight.format],
  ...outputParts(weight, plus),
];

/** What is added, and how y is written. */
export function outputParts(weight: GpuWeight, plus: GpuTensor | undefined): Fragment[] {
  const hasAlignedOutput = weight.rows % 4 === 0;
  return [
    !plus ? PLUS_NONE : hasAlignedOutput && isAligned(plus) ? PLUS_ALIGNED : PLUS_ANY,
    hasAlignedOutput ? OUTPUT_ALIGNED : OUTPUT_ANY,
  ];
}

/** Whether rows of a view can be read in vectors of 4. */
const isAligned = ({ offset, stride, rows }: GpuTensor) => offset % 4 === 0 && (stride % 4 === 0 || rows === 1);

const INPUT_ALIGNED: Fragment = { name: "input-aligned", source: inputAligned };
const INPUT_ANY: Fragment = { name: "input-any", source: inputAny };
const PLUS_NONE: Fragment = { name: "plus-none", source: plusNone };
const PLUS_ALIGNED: Fragment = { name: "plus-aligned", source: plusAligned };
const PLUS_ANY: Fragment = { name: "plus-any", source: plusAny };
const OUTPUT_ALIGNED: Fragment = { name: "output-aligned", source: outputAligned };
const OUTPUT_ANY: Fragment = { name: "output-any", source: outputAny };
