import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Plugin, Rolldown } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(path, "utf8").trim();

/**
 * Writes the licences of all that is bundled beside it: `bundle` those of its workers too, in which `workers` looks.
 *
 * @param others packages of which no module is bundled, but fonts are
 */
export function bundledLicenses(others: readonly string[] = []): Record<"bundle" | "workers", Plugin> {
  const folders = new Set(others.map((name) => `${root}node_modules/${name}`));
  const collect = (bundle: Rolldown.OutputBundle) => {
    for (const chunk of Object.values(bundle)) {
      for (const id of chunk.type === "chunk" ? chunk.moduleIds : []) {
        const folder = folderOf(id);
        if (folder) folders.add(folder);
      }
    }
  };
  return {
    workers: { name: "licenses-of-workers", apply: "build", generateBundle: (_, bundle) => collect(bundle) },
    bundle: {
      name: "bundled-licenses",
      apply: "build",
      generateBundle(_, bundle) {
        collect(bundle);
        const parts = [...folders].sort().map(describe);
        const source = `${["Sluice holds code and fonts of others, under their licences.", ...parts].join(RULE)}\n`;
        this.emitFile({ type: "asset", fileName: "third-party-licenses.txt", source });
      },
    },
  };
}

const RULE = `\n\n${"-".repeat(80)}\n\n`;

/** The package that a module is of. */
function folderOf(id: string): string | undefined {
  if (id === "\0xgrammar.js") return `${root}node_modules/@mlc-ai/web-xgrammar`;
  return /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(id.replace(/^\0/, ""))?.[0];
}

function describe(folder: string): string {
  const { name, version, license } = JSON.parse(read(`${folder}/package.json`));
  const texts = readdirSync(folder)
    .filter((file) => /^(licen[cs]e|copying|notice)(\.|$)/i.test(file))
    .map((file) => read(`${folder}/${file}`));
  // Who leaves the Apache License out of a package means the text that stands in ours.
  if (texts.length === 0 && license === "Apache-2.0") texts.push(read(`${root}LICENSE`));
  if (texts.length === 0) throw new Error(`${name} is bundled, and has no text of its licence.`);
  if (name === "@mlc-ai/web-xgrammar") texts.push(read(`${root}licenses/xgrammar.txt`));
  return [`${name} ${version} (${license})`, ...texts].join("\n\n");
}
