import { fileURLToPath } from "node:url";
import type { GrammarThread } from "../../src/constraints/grammar-messages.ts";
import { grammarThread } from "../../src/platform/node/grammar-thread.ts";

/** A thread of the built program; `buildCli` comes first. */
export const builtGrammarThread = (): GrammarThread =>
  grammarThread(fileURLToPath(new URL("../../dist/node/grammar-worker.js", import.meta.url)));

/** A schema of common form that XGrammar compiles for minutes. */
export const hostileSchema = {
  type: "object",
  properties: Object.fromEntries(
    Array.from({ length: 500 }, (_, i) => [`field${i}`, { type: "string", minLength: 1, maxLength: 400 }]),
  ),
};
