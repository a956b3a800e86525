import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { defineConfig, type ViteUserConfig } from "vitest/config";
import { bundledLicenses } from "./licenses/bundled-licenses.ts";

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

/**
 * XGrammar is published as a script that takes itself for a module and offers nothing to import. Here it becomes a
 * function that runs the script anew, and that hides from it what would make it look for files.
 */
const xgrammar: Plugin = {
  name: "xgrammar",
  resolveId: (id) => (id === "virtual:xgrammar" ? "\0xgrammar.js" : undefined),
  load: {
    filter: { id: /^\0xgrammar\.js$/ },
    handler: async () => {
      const script = await readFile(path("./node_modules/@mlc-ai/web-xgrammar/lib/index.js"), "utf8");
      const changes: [RegExp, string][] = [
        [/await import\('module'\)/, "{}"],
        // A mask is wanted in the same turn, while the GPU works; nothing in there takes time but the work itself.
        [/async (getNextTokenBitmask\(\) \{)\s*await asyncInitBinding\(\);/, "$1"],
        [/^\/\/# sourceMappingURL.*$/m, ""],
      ];
      const body = changes.reduce((text, [found, instead]) => {
        if (text.search(found) < 0) throw new Error(`@mlc-ai/web-xgrammar no longer holds ${found}.`);
        return text.replace(found, instead);
      }, script);
      const hidden = "process, document, window, importScripts, require";
      return `export function createXGrammar(log) {
        const exports = {};
        const console = { log, warn: log, error: log };
        (function (exports, module, console, location, ${hidden}) {${body}
        }).call(globalThis, exports, {}, console, { href: "" });
        return exports;
      }`;
    },
  },
};

const external = [/^node:/, "webgpu", "commander", "@sparticuz/chromium"];

/** Of a bundle and its workers. */
function withPlugins(plugins: Plugin[], others?: string[]): ViteUserConfig {
  const licenses = bundledLicenses(others);
  return {
    plugins: [...plugins, licenses.bundle],
    worker: { format: "es", plugins: () => [...plugins, licenses.workers] },
  };
}

const library = (entries: string[], outDir: string, node: boolean): ViteUserConfig => ({
  base: "./",
  ...withPlugins(node ? [xgrammar] : [xgrammar, minifyShaders]),
  publicDir: false,
  build: {
    outDir,
    target: node ? "node20" : "es2022",
    minify: node ? false : "oxc",
    sourcemap: node,
    ssr: node,
    lib: { entry: entries.map((entry) => path(`./src/${entry}.ts`)), formats: ["es"] },
    // Of libraries Vite leaves the white space; what a page fetches has none.
    rollupOptions: { external, output: { minify: !node } },
  },
});

/** Tests share one GPU, often a software one on few cores, so their files run one after the other. */
const test: ViteUserConfig["test"] = {
  include: ["test/**/*.test.ts"],
  pool: "forks",
  fileParallelism: false,
  testTimeout: 240_000,
  hookTimeout: 240_000,
  // What comes about by itself may take long where others are busy too; who waits for it learns the last value all the same.
  expect: { poll: { timeout: 120_000, interval: 10 } },
};

export default defineConfig(({ mode }): ViteUserConfig => {
  switch (mode) {
    case "browser":
      return library(["index", "worker"], "dist/browser", false);
    case "node":
      return library(
        [
          "node",
          "cli",
          "server",
          "gpu-worker",
          "stage-worker",
          "grammar-worker",
          "pack-worker",
          "read-worker",
          "demo-server",
          "bundle-gpu",
        ],
        "dist/node",
        true,
      );
    case "demo":
      return {
        root: path("./demo"),
        base: "./",
        ...withPlugins([xgrammar, minifyShaders], ["@fontsource-variable/source-serif-4"]),
        resolve: { alias: { sluice: path("./src/index.ts") } },
        build: { outDir: path("./dist/demo"), emptyOutDir: true, target: "es2022" },
      };
    case "bench":
      return { plugins: [xgrammar], test: { ...test, include: ["test/bench/**/*.bench.ts"], testTimeout: 600_000 } };
    default:
      return { plugins: [xgrammar], test };
  }
});
