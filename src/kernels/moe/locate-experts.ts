import source from "../../../shaders/moe/locate-experts.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";

/** Turns the experts that a batch chose into the slots where they lie; stops the plan where one is missing. Grid: [1]. */
export const locateExperts = defineKernel({
  name: "locate-experts",
  source,
  buffers: ["ids", "table", "slots", "report", "batchState"],
  constants: ["WORKGROUP", "EXPERTS", "TOP_K", "LAYER", "CHOSEN_AT"],
});
