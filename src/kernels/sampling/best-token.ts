import source from "../../../shaders/sampling/best-token.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** Neighbouring logits of which process-logits keeps the largest: a power of two from 16 on. */
export const SEGMENT = 128;

/** `keepBest` and `mergeBest` over a workgroup of 256, and SEGMENT. */
export const bestToken: Fragment = { name: "best-token", source: `const SEGMENT = ${SEGMENT}u;\n${source}` };
