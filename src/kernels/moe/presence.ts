import all from "../../../shaders/moe/present-all.wgsl?raw";
import some from "../../../shaders/moe/present-some.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** Which tokens' experts are there; the ids of the others are MISSING. */
export const presence = {
  all: { name: "present-all", source: all },
  some: { name: "present-some", source: some },
} as const satisfies Record<string, Fragment>;
