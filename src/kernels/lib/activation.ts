import source from "../../../shaders/lib/activation.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** `sigmoid` and `silu`. */
export const activation: Fragment = { name: "activation", source };
