// Prints what a page downloads for each entry of the browser build: `npm run build`, then `node test/bundle-size.mjs`.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const folder = fileURLToPath(new URL("../dist/browser", import.meta.url));
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`.padStart(10);

for (const entry of ["index.js", "worker.js"]) {
  const files = [...withChunks(join(folder, entry))].map((file) => readFileSync(file));
  const minified = files.reduce((sum, file) => sum + file.length, 0);
  const compressed = files.reduce((sum, file) => sum + gzipSync(file, { level: 9 }).length, 0);
  console.log(`dist/browser/${entry.padEnd(10)} ${kilobytes(minified)} minified ${kilobytes(compressed)} gzip`);
}

/** The file and the chunks that it imports, at once or later. */
function withChunks(file, seen = new Set()) {
  if (seen.has(file)) return seen;
  seen.add(file);
  const imports = readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?["'`](\.[^"'`]+\.js)["'`]/g);
  for (const [, path] of imports) withChunks(join(dirname(file), path), seen);
  return seen;
}
