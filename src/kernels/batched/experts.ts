import down from "../../../shaders/batched/down.wgsl?raw";
import findPairs from "../../../shaders/batched/find-pairs.wgsl?raw";
import gateUp from "../../../shaders/batched/gate-up.wgsl?raw";
import mix from "../../../shaders/batched/mix.wgsl?raw";
import mixedSource from "../../../shaders/batched/mixed.wgsl?raw";
import route from "../../../shaders/batched/route.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { expand } from "../decode/expand.ts";
import { best } from "../decode/experts.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";
import { digitInput } from "./product.ts";

const pairs: Fragment = { name: "find-pairs", source: findPairs };

/** Each row's experts, and digits of the shared one's hidden vector. Needs `sizes`, `digits`. Grid: [rows]. */
export const batchedRoute = defineKernel({
  name: "batched-route",
  source: route,
  uses: [batchFragment, best, activation],
  buffers: ["logits", "ids", "weights", "hiddenDigits", "hiddenScales", "batch"],
  constants: ["EXPERTS", "INNER", "SHARED_AT", "GATE_AT"],
});

/** The first half of the experts. Needs `sizes`, `digits`, `teamSums`, `gateUpRows`. Grid: [INNER / SPAN, ROWS · TOP_K]. */
export const batchedGateUp = defineKernel({
  name: "batched-gate-up",
  source: "",
  uses: [batchFragment, activation, digitInput, pairs],
  buffers: ["digits", "digitScales", "ids", "hiddenDigits", "hiddenScales", "weight", "batch"],
  constants: ["INNER"],
});

/** The second half, also of the shared expert. Needs `sizes`, `digits`, `teamSums`, `downRows`. Grid: [COLUMNS / SPAN, ⌈ROWS / SHARED_ROWS⌉ + ROWS · TOP_K]. */
export const batchedDown = defineKernel({
  name: "batched-down",
  source: "",
  uses: [batchFragment, digitInput, pairs],
  buffers: ["digits", "digitScales", "ids", "y", "weight", "sharedWeight", "batch"],
  constants: ["COLUMNS"],
});

/** What a sparse layer leaves of a row. Needs `sizes` ROWS, TOP_K. */
export const mixed: Fragment = { name: "mixed", source: mixedSource };

/** All of a row's experts and the residual. Needs `sizes`. Grid: [COLUMNS / (4 · WORKGROUP), rows]. */
export const batchedMix = defineKernel({
  name: "batched-mix",
  source: mix,
  uses: [batchFragment, mixed],
  buffers: ["parts", "weights", "residual", "y", "batch"],
  constants: ["COLUMNS"],
});

/** For so many rows of W at a time (gates and ups, or all rows), each of so many blocks of a lane. */
export const gateUpRows = (rows: number, steps: number): Fragment => ({
  name: "gate-up-rows",
  source: written(gateUp, rows, steps),
});

export const batchedDownRows = (rows: number, steps: number): Fragment => {
  const from = down.indexOf("fn $name");
  const named = (values: Readonly<Record<string, string>>) =>
    Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`$${name}`, value), down.slice(from));
  const routed = named({ name: "routed", weight: "weight", pair: "found[n]" });
  const forAll = named({ name: "forAll", weight: "sharedWeight", pair: "PAIRS + n" });
  return { name: "batched-down-rows", source: written(`${down.slice(0, from)}${routed}${forAll}`, rows, steps) };
};

const written = (source: string, rows: number, steps: number): string =>
  expand(source.replaceAll("$sums", Array.from({ length: rows }, (_, r) => `sum${r}`).join(", ")), {
    r: rows,
    i: steps,
  });
