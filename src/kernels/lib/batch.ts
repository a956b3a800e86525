import source from "../../../shaders/lib/batch.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** The tokens of a step: ids, positions, sequences, state slots, block table. Bound as `batch`, at 5. */
export const batchFragment: Fragment = { name: "batch", source };
