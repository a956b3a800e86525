import tile from "../../../shaders/moe/expert-tile.wgsl?raw";
import down from "../../../shaders/moe/half-down.wgsl?raw";
import gateUp from "../../../shaders/moe/half-gate-up.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";
import { activation } from "../lib/activation.ts";

const expertTile: Fragment = { name: "expert-tile", source: tile };

/** What the two halves of an expert multiply and store. A place is what one thread or team computes: four sums. */
export const halves = {
  gateUp: [expertTile, activation, { name: "half-gate-up", source: gateUp }],
  down: [expertTile, { name: "half-down", source: down }],
} as const satisfies Record<string, readonly Fragment[]>;
