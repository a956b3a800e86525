import source from "../../../shaders/lib/random.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** `randomAt(seed, index)`, the same as the reference's. */
export const random: Fragment = { name: "random", source };
