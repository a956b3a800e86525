import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { FileOptions, Platform } from "../../api/platform.ts";
import { cachedFiles } from "../../stores/cached-files.ts";
import type { FileSource } from "../../weights/checkpoint.ts";
import { FileListSource } from "../../weights/file-list-source.ts";
import type { HubOptions } from "../../weights/hub-source.ts";
import { isAddress, networkSource } from "../../weights/network-source.ts";
import { FolderSource } from "./folder-source.ts";
import { openGpu } from "./gpu.ts";
import { grammarThread } from "./grammar-thread.ts";
import { NodeStores } from "./stores.ts";

/** It lies beside this file in what is built; where the sources run as they are, there is none. */
const grammarScript = fileURLToPath(new URL("./grammar-worker.js", import.meta.url));

/** Node: WebGPU through Dawn, models from folders and the web. */
export const nodePlatform: Platform = {
  openGpu: ({ adapter, fast }) => openGpu({ adapter, fast }),

  async openFiles(source, options) {
    if (source instanceof URL && source.protocol === "file:") return FolderSource.open(fileURLToPath(source));
    if (source instanceof URL || (typeof source === "string" && isAddress(source))) {
      return kept(networkSource(source, hub(options)), options);
    }
    if (typeof source === "string") return FolderSource.open(source);
    return new FileListSource("files" in source ? source.files : source);
  },

  async sockets() {
    // Node has its own from version 22 on. Other uses need none of this.
    const { WebSocket } = await import("ws");
    return (url) => new WebSocket(url, { perMessageDeflate: false, maxPayload: 2 ** 28 });
  },

  startGrammars: existsSync(grammarScript) ? () => grammarThread(grammarScript) : undefined,

  async loadReference(weights, options) {
    const { ReferenceRunner } = await import("../../reference/reference-runner.ts");
    return ReferenceRunner.load(weights, options);
  },
};

/** As Hugging Face's own tools are told. */
const hub = ({ hubToken }: FileOptions = {}): HubOptions => ({
  token: hubToken ?? process.env.HF_TOKEN,
  endpoint: process.env.HF_ENDPOINT,
});

/** A model of the network, in the cache folder. */
async function kept(remote: FileSource, { store = "none", onReport }: FileOptions = {}): Promise<FileSource> {
  return store === "none" ? remote : cachedFiles(remote, new NodeStores(store), { onReport });
}
