import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildCli, onTestAdapter, sluice } from "../support/cli.ts";
import { serveFiles } from "../support/file-server.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-pack-"));
const sprout = fileURLToPath(new URL("../../demo/public/models/sprout", import.meta.url));
const cli = fileURLToPath(new URL("../../dist/node/cli.js", import.meta.url));

beforeAll(buildCli);
afterAll(() => rmSync(folder, { recursive: true }));

describe("pack", () => {
  it("goes on after it was killed; the model then replies as the original does", async () => {
    const packed = join(folder, "sprout");
    const journal = join(packed, "sluice.json.unfinished");
    const names = readdirSync(sprout);
    const server = await serveFiles(
      Object.fromEntries(names.map((name) => [`sprout/${name}`, readFileSync(join(sprout, name))])),
    );
    // The last third is not to be had before it is killed.
    let isHeld = true;
    server.onRequest = ({ headers: { range = "" } }) => isHeld && Number(/\d+/.exec(range)) > 15e6;
    const args = ["pack", `${server.url}/sprout`, packed, "--quant", "q8", "--experts", "auto"];
    const child = spawn(process.execPath, [cli, ...args], { stdio: "ignore" });
    const ended = new Promise((resolve) => child.on("exit", resolve));
    await expect.poll(() => existsSync(journal) && statSync(journal).size).toBeGreaterThan(3000);
    child.kill("SIGKILL");
    await ended;
    isHeld = false;
    expect(existsSync(join(packed, "sluice.json"))).toBe(false);
    const again = await sluice(args);
    expect(again).toMatchObject({ code: 0, stdout: "" });
    expect(again.stderr).toMatch(/sprout: [\d.]+ MB in 1 files?, \d+ records\./);
    expect(existsSync(journal)).toBe(false);
    await server.close();

    const reply = (model: string) => {
      const prompt = ["--prompt", "Once upon a time", "--max-tokens", "5", "--temperature", "0"];
      return sluice(["generate", model, "--reference", "--quantization", "auto", ...prompt]);
    };
    const { stdout, code } = await reply(packed);
    expect(code).toBe(0);
    expect(stdout).toBe((await reply(sprout)).stdout);
  });

  it("leaves folders with other files, and finished models, alone", async () => {
    const fixture = fixtureFolder("qwen3-next-tiny");
    const inUse = mkdtempSync(join(folder, "in-use-"));
    writeFileSync(join(inUse, "notes.txt"), "mine");
    const refused = await sluice(["pack", fixture, inUse, "--quant", "q4"]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/holds other files \(notes\.txt\)\. Choose an empty one/);

    const tiny = join(folder, "tiny");
    expect((await sluice(["pack", fixture, tiny, "--quant", "q4"])).code).toBe(0);
    const manifest = readFileSync(join(tiny, "sluice.json"));
    const twice = await sluice(["pack", fixture, tiny, "--quant", "q8"]);
    expect(twice.code).toBe(1);
    expect(twice.stderr).toMatch(/holds a packed model already/);
    expect(readFileSync(join(tiny, "sluice.json"))).toEqual(manifest);
  });

  it("makes a model of any shape up, which runs with some of its experts on the device", async () => {
    const shape = join(folder, "shape.json");
    writeFileSync(shape, JSON.stringify(SHAPE));
    const made = join(folder, "made-up");
    const args = ["--quant", "q4", "--synthetic"];
    expect((await sluice(["pack", shape, made, ...args])).code).toBe(0);
    const byThreads = join(folder, "by-threads");
    expect((await sluice(["pack", shape, byThreads, ...args, "--threads", "3"])).code).toBe(0);
    for (const file of ["sluice.json", "weights-00000.bin"]) {
      expect(readFileSync(join(byThreads, file)).equals(readFileSync(join(made, file))), file).toBe(true);
    }
    const bench = ["--memory", "25%", "--profile", "--prompt", "20", "--depth", "9", "--tokens", "6", "--repeats", "2"];
    const measured = await sluice(["bench", made, ...bench, ...onTestAdapter, "--json"]);
    expect(measured).toMatchObject({ code: 0 });
    const { paging, decode, profile } = JSON.parse(measured.stdout);
    expect(paging).toMatchObject({ slots: 8, experts: 32 });
    expect(paging.storeBytesPerSecond).toBeGreaterThan(0);
    const { hitRate, bytesPerToken } = decode[0].paging;
    expect(hitRate).toBeGreaterThan(0.1);
    expect(hitRate).toBeLessThan(0.9);
    // An expert has 128 · (2 · 64) + 64 · 128 weights of 4.5 bits; a token asks for four in each of four layers.
    const expertBytes = (3 * 64 * 128 * 4.5) / 8;
    expect(bytesPerToken).toBeGreaterThan(expertBytes);
    expect(bytesPerToken).toBeLessThan(2 * 16 * expertBytes);
    const { kernels } = profile.find(({ step }: { step: string }) => step === "a decode step");
    expect(kernels.map(({ kernel }: { kernel: string }) => kernel)).toContain("locate-experts");
  });
});

const SHAPE = {
  model_type: "qwen3_next",
  vocab_size: 512,
  hidden_size: 128,
  num_hidden_layers: 4,
  max_position_embeddings: 1024,
  rope_theta: 1e7,
  num_experts: 32,
  num_experts_per_tok: 4,
  moe_intermediate_size: 64,
  shared_expert_intermediate_size: 64,
  head_dim: 64,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  linear_num_key_heads: 2,
  linear_num_value_heads: 4,
  linear_key_head_dim: 32,
  linear_value_head_dim: 32,
};
