import type { Platform } from "../../api/platform.ts";
import { FileListSource } from "../../weights/file-list-source.ts";
import { httpSource } from "../../weights/http-source.ts";
import { openGpu } from "./gpu.ts";

/** A browser: its own WebGPU, models from the web or from files that a user chose. */
export const browserPlatform: Platform = {
  openGpu,

  async openFiles(source) {
    if (source instanceof URL || typeof source === "string") return httpSource(source);
    return new FileListSource("files" in source ? source.files : source);
  },

  async loadReference(weights, options) {
    const { ReferenceRunner } = await import("../../reference/reference-runner.ts");
    return ReferenceRunner.load(weights, options);
  },
};
