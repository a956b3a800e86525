#!/usr/bin/env node
// What the command `sluice` runs. It is in the repository, and executable there, because npx links it before anything is
// built and never looks again; the build's files are neither.
import { existsSync } from "node:fs";

const cli = new URL("../dist/node/cli.js", import.meta.url);
if (existsSync(cli)) {
  await import(cli.href);
} else {
  console.error("sluice: it is not built yet. Run `npm run build` first.");
  process.exitCode = 1;
}
