import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { defineConfig, type ViteUserConfig } from "vitest/config";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/** Comments and indentation explain shaders to people; a page need not download them. */
const minifyShaders: Plugin = {
  name: "minify-shaders",
  enforce: "pre",
  transform: {
    filter: { id: /\.wgsl\?raw$/ },
    handler: (code) =>
      code
        .replace(/\/\/.*?(\\n|\\r|")/g, "$1")
        .replace(/(\\n)\s+/g, "$1")
        .replace(/(\\n)+/g, "\\n"),
  },
};

const external = [/^node:/, "webgpu", "commander", "@sparticuz/chromium"];

const library = (entries: string[], outDir: string, node: boolean): ViteUserConfig => ({
  base: "./",
  plugins: node ? [] : [minifyShaders],
  publicDir: false,
  worker: { format: "es", plugins: () => [minifyShaders] },
  build: {
    outDir,
    target: node ? "node20" : "es2022",
    minify: node ? false : "oxc",
    sourcemap: node,
    ssr: node,
    lib: { entry: entries.map((entry) => path(`./src/${entry}.ts`)), formats: ["es"] },
    rollupOptions: { external },
  },
});

/** Tests share one GPU, often a software one on few cores, so their files run one after the other. */
const test: ViteUserConfig["test"] = {
  include: ["test/**/*.test.ts"],
  pool: "forks",
  fileParallelism: false,
  testTimeout: 240_000,
  hookTimeout: 240_000,
};

export default defineConfig(({ mode }): ViteUserConfig => {
  switch (mode) {
    case "browser":
      return library(["index", "worker"], "dist/browser", false);
    case "node":
      return library(["node", "cli", "demo-server", "bundle-gpu"], "dist/node", true);
    case "demo":
      return {
        root: path("./demo"),
        base: "./",
        plugins: [minifyShaders],
        worker: { format: "es", plugins: () => [minifyShaders] },
        resolve: { alias: { sluice: path("./src/index.ts") } },
        build: { outDir: path("./dist/demo"), emptyOutDir: true, target: "es2022" },
      };
    case "bench":
      return { test: { ...test, include: ["test/bench/**/*.bench.ts"], testTimeout: 600_000 } };
    default:
      return { test };
  }
});
