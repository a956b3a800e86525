import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";

const STATIC = /\b(?:from|import)\s*["'`](\.[^"'`]+\.js)["'`]/g;
const ANY = /\b(?:from|import)\s*\(?\s*["'`](\.[^"'`]+\.js)["'`]/g;

/** Kilobytes, of which the demo's visitor notices each hundred. What grows past its limit belongs into a chunk of its own. */
const LIMITS = [
  { entry: /^index\.js$/, limit: 22 },
  // To be served from where a page likes, and what `LLM.load` starts otherwise.
  { entry: /^worker\.js$/, limit: 150 },
  { entry: /^assets\/worker-.*\.js$/, limit: 145 },
];

test.each(LIMITS)("what a page fetches at once for $entry stays below $limit kB", ({ entry, limit }) => {
  const built = readdirSync("dist/browser", { recursive: true, encoding: "utf8" });
  const file = join("dist/browser", built.find((name) => entry.test(name))!);
  const [atOnce, all] = [STATIC, ANY].map((imports) => kilobytes(filesOf(file, imports)));
  console.log(`${file}: ${atOnce.toFixed(1)} kB at once, ${all.toFixed(1)} kB with all chunks (gzip)`);
  expect(atOnce).toBeLessThan(limit);
  expect(all).toBeGreaterThan(atOnce);
});

const kilobytes = (files: Iterable<string>): number =>
  [...files].reduce((sum, file) => sum + gzipSync(readFileSync(file), { level: 9 }).length / 1000, 0);

/** The file and the chunks that it imports, and these import. */
function filesOf(file: string, imports: RegExp, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const [, path] of readFileSync(file, "utf8").matchAll(imports))
    filesOf(join(dirname(file), path), imports, seen);
  return seen;
}
