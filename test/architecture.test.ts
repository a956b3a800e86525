import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path/posix";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

/** What each folder of src may import: `uses` anything of it, `knows` types only, `loads` when asked for. */
const DIRECTIONS: Record<string, { uses?: string[]; knows?: string[]; loads?: string[] }> = {
  // Loading a model is where everything meets; a user's calls go to the engine alone.
  api: {
    uses: [
      "engine",
      "chat",
      "companion",
      "constraints",
      "tokenizer",
      "models",
      "weights",
      "runner",
      "stages",
      "paging",
      "gpu",
    ],
  },
  server: { uses: ["api", "companion", "engine"], knows: ["runner"] },
  companion: { knows: ["engine", "paging", "stages"] },
  runner: { uses: ["engine", "models", "paging", "ops", "kernels", "weights", "gpu"] },
  stages: { uses: ["engine", "models", "runner", "weights"], knows: ["gpu"] },
  workers: { uses: ["api"], knows: ["engine", "runner"] },
  paging: { uses: ["ops", "weights", "gpu"] },
  models: { uses: ["weights"], knows: ["ops"] },
  ops: { uses: ["kernels", "gpu", "weights"] },
  kernels: { uses: ["gpu", "weights"] },
  weights: { uses: ["gpu"] },
  stores: { uses: ["weights"] },
  chat: { uses: ["constraints", "tokenizer"] },
  constraints: { uses: ["tokenizer"] },
  tokenizer: { knows: ["weights"] },
  reference: { uses: ["models", "weights"], knows: ["ops", "engine", "runner"] },
  platform: {
    uses: ["weights", "stages", "stores"],
    knows: ["api", "constraints", "engine", "gpu"],
    loads: ["reference"],
  },
  engine: {},
  gpu: {},
  common: {},
};

/** What belongs to no layer: it lies below all of them. */
const isCommon = (file: string) => file === "errors.ts" || folderOf(file) === "common";

/** Words that everybody shares: types without behaviour, from folders that may otherwise lie above the reader. */
const VOCABULARY = ["api/types.ts", "ops/ops.ts", "ops/batch.ts", "weights/format.ts"];

const src = fileURLToPath(new URL("../src", import.meta.url));
const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));
const imports = files.flatMap(importsOf);

interface Import {
  readonly from: string;
  /** A file of src, or a module's name as it is written. */
  readonly to: string;
  readonly kind: "value" | "type" | "dynamic";
}

function importsOf(from: string): Import[] {
  const text = readFileSync(join(src, from), "utf8");
  const found = text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^;"']*?\sfrom\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm);
  return Array.from(found, ([, type, named, dynamic]) => {
    const name = (named ?? dynamic).replace(/\?.*$/, "");
    const to = name.startsWith(".") ? relative(".", join(dirname(from), name)) : name;
    return { from, to, kind: dynamic ? "dynamic" : type ? "type" : "value" };
  });
}

/** The CLI is an entry point in several files. */
const isEntryPoint = (file: string) => (!file.includes("/") && file !== "errors.ts") || folderOf(file) === "cli";
const folderOf = (file: string) => file.slice(0, file.indexOf("/"));
const print = ({ from, to, kind }: Import) => `${from} -> ${to} (${kind})`;

it("finds the imports", () => {
  expect(imports).toContainEqual({ from: "weights/checkpoint.ts", to: "weights/format.ts", kind: "type" });
  expect(imports).toContainEqual({ from: "platform/node/gpu.ts", to: "errors.ts", kind: "value" });
});

it("lets imports point down only", () => {
  const wrong = imports.filter(({ from, to, kind }) => {
    if (isEntryPoint(from) || !files.includes(to) || isCommon(to) || folderOf(from) === folderOf(to)) return false;
    if (kind === "type" && VOCABULARY.includes(to)) return false;
    const { uses = [], knows = [], loads = [] } = DIRECTIONS[folderOf(from)] ?? {};
    const allowed = kind === "type" ? [...uses, ...knows] : kind === "dynamic" ? [...uses, ...loads] : uses;
    return !allowed.includes(folderOf(to));
  });
  expect(wrong.map(print)).toEqual([]);
});

it("has no cycles", () => {
  const finished = new Set<string>();
  const visit = (file: string, path: string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (finished.has(file)) return [];
    for (const { to } of imports.filter(({ from, kind }) => from === file && kind !== "type")) {
      const cycle = visit(to, [...path, file]);
      if (cycle.length > 0) return cycle;
    }
    finished.add(file);
    return [];
  };
  expect(files.map((file) => visit(file, []).join(" -> ")).find(Boolean)).toBeUndefined();
});

it("names a platform in src/platform, the server and entry points only", () => {
  const wrong = imports.filter(
    ({ from, to }) =>
      (to.startsWith("node:") || to === "webgpu" || folderOf(to) === "platform") &&
      !isEntryPoint(from) &&
      // A server is for Node alone.
      !["platform", "server"].includes(folderOf(from)),
  );
  expect(wrong.map(print)).toEqual([]);
});

it.each(["index.ts", "worker.ts"])("keeps Node and the reference out of what %s downloads", (entry) => {
  const reached = new Set([entry]);
  for (const file of reached) {
    for (const { from, to, kind } of imports) {
      if (from === file && kind === "value") reached.add(to);
    }
  }
  const wrong = [...reached].filter((file) => /^(node:|webgpu$|platform\/node\/|reference\/)/.test(file));
  expect(wrong).toEqual([]);
});
