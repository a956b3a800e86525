import { beforeAll, describe, expect, it } from "vitest";
import { buildCli, sluice } from "../support/cli.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const COMMANDS = ["chat", "generate", "pack", "serve", "score", "inspect", "bench", "devices", "cache"];

beforeAll(buildCli);

describe("sluice", () => {
  it("lists its commands", async () => {
    const { code, stdout } = await sluice(["--help"]);
    expect(code).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, "m"));
  });

  it("says its version", async () => {
    expect((await sluice(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each(COMMANDS)("shows examples of %s", async (command) => {
    const { code, stdout } = await sluice([command, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^ {2}\\$ .*sluice ${command}`, "m"));
  });

  it.each([
    { args: ["chta"], says: ["unknown command 'chta'", "chat"] },
    { args: ["generate", "--promt", "x"], says: ["unknown option '--promt'", "--prompt"] },
    { args: ["inspect", "--dtype", "int8"], says: ["int8", "f32"] },
    { args: ["inspect", "--context", "many"], says: ["--context", "A number is wanted."] },
    { args: ["generate"], says: ["--prompt", "--tokens"] },
    { args: ["generate", "--prompt", "x", "--tokens", "y"], says: ["either"] },
    { args: ["pack", "a", "b"], says: ["--quant"] },
    { args: ["score", "--tokens", "x.json"], says: ["--model"] },
  ])("refuses $args and says what to write", async ({ args, says }) => {
    const { code, stdout, stderr } = await sluice(args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    for (const text of says) expect(stderr).toContain(text);
  });

  it.each([
    { args: ["inspect", "nowhere"], says: /^sluice: nowhere: there is no such folder/m },
    { args: ["generate", "--tokens", "nowhere.json"], says: /^sluice: --tokens: nowhere\.json cannot be read/m },
    {
      args: ["score", "--model", fixtureFolder("qwen3-next-tiny"), "--tokens", "x", "--out", "nowhere/x"],
      says: /^sluice: --out: nowhere\/x cannot be written/m,
    },
    {
      args: ["generate", fixtureFolder("qwen3-next-tiny"), "--prompt", "x", "--reference"],
      says: /^sluice: prompt: this model has no tokenizer/m,
    },
  ])("fails with one line for $args", async ({ args, says }) => {
    const { code, stderr } = await sluice(args);
    expect(code).toBe(1);
    expect(stderr).toMatch(says);
    expect(stderr).not.toContain("    at ");
  });

  it("shows where an error came from with --debug", async () => {
    const { stderr } = await sluice(["inspect", "nowhere", "--debug"]);
    expect(stderr).toMatch(/^sluice: CheckpointError: nowhere/);
    expect(stderr).toContain("    at ");
  });
});
