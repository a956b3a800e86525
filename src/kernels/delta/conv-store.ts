import source from "../../../shaders/delta/conv-store.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Puts each sequence's last inputs into its ring. Grid: [⌈channels / 64⌉, sequences]. */
export const convStoreKernel = defineKernel({
  name: "conv-store",
  source,
  uses: [batchFragment],
  buffers: ["x", "ring", "batch"],
  constants: ["CHANNELS", "RING"],
});
