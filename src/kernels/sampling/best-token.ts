import source from "../../../shaders/sampling/best-token.wgsl?raw";
import type { DeviceProfile } from "../../gpu/profile.ts";
import type { Fragment } from "../../gpu/shader.ts";

/** Neighbouring logits of which process-logits keeps the largest: a power of two from 16 on. */
export const SEGMENT = 128;

/** Threads of a workgroup in the kernels that sample, a thread for each value of a digit of 8 or 4 bits. */
const samplingThreads = ({ serialWorkgroups }: DeviceProfile): number => (serialWorkgroups ? 16 : 256);

/** Logits that one workgroup of process-logits takes. */
export const logitsPerGroup = (profile: DeviceProfile): number => 8 * samplingThreads(profile);

/** `keepBest` and `mergeBest` over a workgroup, WORKGROUP and SEGMENT. */
export const bestToken: Fragment = {
  name: "best-token",
  source: (profile) => `const WORKGROUP = ${samplingThreads(profile)}u;\nconst SEGMENT = ${SEGMENT}u;\n${source}`,
};
