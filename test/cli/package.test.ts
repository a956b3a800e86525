import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { defaultModel, sproutFolder } from "../../src/cli/package.ts";

test("Sprout is the model where none is named, and a build without it says what to name", () => {
  expect(defaultModel()).toBe(sproutFolder());
  const tokenizerOnly = fileURLToPath(new URL("../fixtures/sprout-tokenizer", import.meta.url));
  expect(() => defaultModel(tokenizerOnly)).toThrow(/^model: none is named.*--shape/);
});
