import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import license, { type Dependency } from "rollup-plugin-license";
import type { Plugin } from "vite";

const path = (relative: string) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const read = (relative: string) => readFileSync(path(relative), "utf8");

/**
 * Writes the licences of all that is bundled beside it. Of a page and its workers, which are bundles of their own, one
 * instance has to see both.
 *
 * @param others packages of which no module is bundled, but fonts are
 */
export function bundledLicenses(outDir: string, others: readonly string[] = []): Plugin {
  const { renderChunk, generateBundle } = license({
    cwd: resolve(path(".")),
    thirdParty: {
      output: {
        file: path(`${outDir}/third-party-licenses.txt`),
        template: (dependencies) => describe([...dependencies, ...others.map(ofPackage)]),
      },
    },
  }) as unknown as { renderChunk(...args: unknown[]): void; generateBundle(): void };
  return {
    name: "bundled-licenses",
    apply: "build",
    renderChunk(code, chunk) {
      const modules = Object.entries(chunk.modules).map(([id, module]) => [packageOf(id), module]);
      // It looks what is in a chunk; what it gives back has lost its source map.
      renderChunk(code, { modules: Object.fromEntries(modules) }, { sourcemap: false });
      return null;
    },
    generateBundle: () => generateBundle(),
  };
}

const packageOf = (id: string): string =>
  id === "\0xgrammar.js" ? path("node_modules/@mlc-ai/web-xgrammar/lib/index.js") : id;

type Described = Pick<Dependency, "name" | "version" | "license" | "licenseText" | "noticeText">;

function describe(dependencies: readonly Described[]): string {
  const parts = [...dependencies]
    .sort((a, b) => a.name!.localeCompare(b.name!))
    .map(({ name, version, license, licenseText, noticeText }) => {
      // Who leaves the Apache License out of a package means the text that stands in ours.
      const text = licenseText ?? (license === "Apache-2.0" ? read("LICENSE") : "");
      if (text === "") throw new Error(`${name} is bundled, and has no text of its licence.`);
      const more = name === "@mlc-ai/web-xgrammar" ? read("licenses/xgrammar.txt") : "";
      return [`${name} ${version} (${license})`, noticeText, text, more]
        .filter(Boolean)
        .map((t) => t!.trim())
        .join("\n\n");
    });
  return `${["Sluice holds code and fonts of others, under their licences.", ...parts].join(RULE)}\n`;
}

const RULE = `\n\n${"-".repeat(80)}\n\n`;

function ofPackage(name: string): Described {
  const { version, license } = JSON.parse(read(`node_modules/${name}/package.json`));
  return { name, version, license, licenseText: read(`node_modules/${name}/LICENSE`), noticeText: null };
}
