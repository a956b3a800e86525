import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { bundleGpu } from "./platform/node/bundle-gpu.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const out = fileURLToPath(new URL("../../.bundle", import.meta.url));
await mkdir(out, { recursive: true });
const { path, sizeBytes } = await bundleGpu(root, out);
console.log(`${path}: ${(sizeBytes / 1e6).toFixed(1)} MB. Unpack it on the server, then run ./sluice --help.`);
