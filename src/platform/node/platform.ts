import { fileURLToPath } from "node:url";
import type { Platform } from "../../api/platform.ts";
import { FileListSource } from "../../weights/file-list-source.ts";
import { httpSource } from "../../weights/http-source.ts";
import { FolderSource } from "./folder-source.ts";
import { openGpu } from "./gpu.ts";

/** Node: WebGPU through Dawn, models from folders and the web. */
export const nodePlatform: Platform = {
  openGpu: ({ adapter }) => openGpu({ adapter }),

  async openFiles(source) {
    if (source instanceof URL && source.protocol === "file:") return FolderSource.open(fileURLToPath(source));
    if (source instanceof URL) return httpSource(source);
    if (typeof source === "string") return /^https?:/.test(source) ? httpSource(source) : FolderSource.open(source);
    return new FileListSource("files" in source ? source.files : source);
  },

  async loadReference(weights, options) {
    const { ReferenceRunner } = await import("../../reference/reference-runner.ts");
    return ReferenceRunner.load(weights, options);
  },
};
