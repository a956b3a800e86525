import type { Command } from "commander";
import { InvalidRequestError } from "../errors.ts";
import { storedModels } from "../node.ts";
import { cacheFolder } from "../platform/node/stores.ts";
import { bytesText, table } from "./text.ts";

export function addCache(program: Command): void {
  const cache = program
    .command("cache")
    .description("Models of the network that are kept on this machine.")
    .addHelpText(
      "after",
      `
They are kept in SLUICE_CACHE, else where the system keeps caches.

Examples:
  $ sluice cache ls
  $ sluice cache rm hf:owner/name`,
    );
  cache.command("ls").description("List them, the last used first.").option("--json", "one JSON array").action(list);
  cache
    .command("rm")
    .description("Remove models, named as `sluice cache ls` does.")
    .argument("<models...>")
    .action(remove);
}

async function list({ json }: { readonly json?: boolean }): Promise<void> {
  const models = await storedModels.list();
  if (json) return console.log(JSON.stringify(models, undefined, 2));
  if (models.length === 0) return console.log(`${cacheFolder()} holds no models.`);
  const rows = models.map(({ source, storedBytes, sizeBytes, isComplete, usedAtMs }) => [
    source,
    isComplete ? bytesText(sizeBytes) : `${bytesText(storedBytes)} of ${bytesText(sizeBytes)}`,
    new Date(usedAtMs).toISOString().slice(0, 10),
  ]);
  console.log(table([["model", "stored", "last used"], ...rows]));
}

async function remove(sources: readonly string[]): Promise<void> {
  const stored = new Set((await storedModels.list()).map(({ source }) => source));
  for (const source of sources) {
    const name = source.replace(/\/+$/, "");
    if (!stored.has(name)) throw new InvalidRequestError("models", `${source} is not stored here.`);
    await storedModels.remove(name);
  }
}
