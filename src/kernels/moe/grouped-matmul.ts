import tiles from "../../../shaders/moe/grouped-matmul.wgsl?raw";
import subgroups from "../../../shaders/moe/grouped-matmul-subgroups.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { unroll } from "../lib/unroll.ts";
import { halves } from "./expert-halves.ts";

/** Both halves of the experts for tiles of `rows` pairs; a workgroup computes `places` of each. */
function grouped(name: string, source: string, { rows, places }: { rows: number; places: number }) {
  const half = (of: keyof typeof halves) =>
    defineKernel({
      name: `grouped-${of === "down" ? "down" : "gate-up"}-${name}`,
      source,
      uses: halves[of],
      buffers: ["x", "pairs", "tiles", "weight", "y"],
      constants: ["COLUMNS", "INNER", "TOP_K"],
    });
  return { rows, places, gateUp: half("gateUp"), down: half("down") };
}

/**
 * Products of pairs that `groupTokens` has put in tiles with their experts' weights. They need a weight's fragment.
 * Grid: [tiles, ⌈n / places⌉], where n is INNER / 2 for gateUp and COLUMNS / 4 for down.
 */
export const groupedKernels = {
  tiles16: grouped("tiles-16", unroll(tiles, 1), { rows: 16, places: 16 }),
  tiles32: grouped("tiles-32", unroll(tiles, 2), { rows: 32, places: 16 }),
  subgroups4: grouped("subgroups-4", unroll(subgroups, 4), { rows: 8, places: 64 }),
  subgroups8: grouped("subgroups-8", unroll(subgroups, 8), { rows: 16, places: 64 }),
};
