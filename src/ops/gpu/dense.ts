import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { rmsNormKernel } from "../../kernels/dense/rms-norm.ts";
import type { Norm } from "../ops.ts";
import type { GpuContext } from "./gpu-ops.ts";

export function rmsNorm({ recorder }: GpuContext, x: GpuTensor, { weight, eps }: Norm<GpuWeight>): GpuTensor {
  const y = recorder.tensor("rms-norm", x.rows, x.columns);
  rmsNormKernel(recorder, {
    buffers: { x, factor: weight, y },
    constants: { COLUMNS: x.columns, EPS: eps },
    grid: [x.rows],
  });
  return y;
}
