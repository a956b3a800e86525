import type { FileOptions, Platform } from "../../api/platform.ts";
import { cachedFiles } from "../../stores/cached-files.ts";
import type { FileSource } from "../../weights/checkpoint.ts";
import { FileListSource } from "../../weights/file-list-source.ts";
import { networkSource } from "../../weights/network-source.ts";
import { openGpu } from "./gpu.ts";
import { BrowserStores } from "./stores.ts";

/** A browser: its own WebGPU, models from the web or from files that a user chose. */
export const browserPlatform: Platform = {
  openGpu,

  async openFiles(source, options) {
    if (source instanceof URL || typeof source === "string") {
      return kept(networkSource(source, { token: options?.hubToken }), options);
    }
    return new FileListSource("files" in source ? source.files : source);
  },

  sockets: async () => (url) => new WebSocket(url),

  async loadReference(weights, options) {
    const { ReferenceRunner } = await import("../../reference/reference-runner.ts");
    return ReferenceRunner.load(weights, options);
  },
};

/** A model of the network, stored as it is read; the rest of its files comes after it is ready. */
async function kept(remote: FileSource, { store = "none", onReport }: FileOptions = {}): Promise<FileSource> {
  return store === "none" ? remote : cachedFiles(remote, new BrowserStores(store), { onReport, outliveClose: true });
}
