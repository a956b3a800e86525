import source from "../../../shaders/delta/delta-chunk.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** Sizes that the kernels of the chunked delta rule share; `CHUNK` and `MIXING` (in values) are those of the shader. */
export const deltaChunk: Fragment = { name: "delta-chunk", source };
export const CHUNK = 32;
export const MIXING = CHUNK + 4;
