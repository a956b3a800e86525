import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseSafetensors } from "../../src/weights/safetensors.ts";
import { buildCli, onTestAdapter, sluice } from "../support/cli.ts";
import { expectClose } from "../support/compare.ts";
import { readGolden } from "../support/golden.ts";
import { fixtureFolder } from "../support/reference-model.ts";
import { sproutReference } from "../tokenizer/tokenizers.ts";

const FIXTURE = "qwen3-next-tiny";
const folder = mkdtempSync(join(tmpdir(), "sluice-cli-"));
const tokensFile = join(folder, "tokens.json");

/** A software adapter without a cache compiles Sprout's shaders in every process anew. */
const COMPILING_MS = 240_000;

const golden = await readGolden(FIXTURE);

beforeAll(async () => {
  await buildCli();
  writeFileSync(tokensFile, JSON.stringify(golden.tokens));
});

afterAll(() => rmSync(folder, { recursive: true }));

async function json(args: readonly string[]) {
  const { code, stdout, stderr } = await sluice([...args, "--json"]);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout);
}

describe("generate", () => {
  const sprout = ["generate", "--reference", "--prompt", "Once upon a time", "--max-tokens", "12"];

  it("repeats itself for a seed", async () => {
    const first = await json([...sprout, "--seed", "5"]);
    expect(first).toMatchObject({ finishReason: "length", adapter: "CPU reference" });
    expect(first.tokenIds).toHaveLength(12);
    expect(first.usage).toMatchObject({ promptTokens: 4, cachedTokens: 0, completionTokens: 12 });
    expect((await json([...sprout, "--seed", "5"])).tokenIds).toEqual(first.tokenIds);
    expect((await json([...sprout, "--seed", "6"])).tokenIds).not.toEqual(first.tokenIds);
  });

  it("writes the text as it comes, and stops at Ctrl-C", async () => {
    const args = ["generate", "--reference", "--prompt", "-", "--max-tokens", "1000", "--seed", "5"];
    let isInterrupted = false;
    const { code, stdout } = await sluice(args, {
      input: "Once upon a time",
      onOutput: (text, interrupt) => {
        if (isInterrupted || text.length <= 20) return;
        isInterrupted = true;
        interrupt();
      },
    });
    expect(code).toBe(130);
    expect(stdout.length).toBeGreaterThan(20);
    expect(stdout.length).toBeLessThan(1000);
  });

  it(
    "continues token ids on the GPU as the golden run",
    async () => {
      const args = ["--tokens", tokensFile, "--temperature", "0", "--max-tokens", "8", "--dtype", "f32"];
      const { tokenIds } = await json(["generate", fixtureFolder(FIXTURE), ...args, ...onTestAdapter]);
      expect(tokenIds).toEqual(golden.greedy.slice(0, 8));
    },
    COMPILING_MS,
  );
});

it("prints the ids of a model without a tokenizer", async () => {
  const args = ["--tokens", tokensFile, "--temperature", "0", "--max-tokens", "3", "--reference"];
  const { stdout } = await sluice(["generate", fixtureFolder(FIXTURE), ...args]);
  expect(stdout).toBe(`${golden.greedy.slice(0, 3).join(" ")}\n`);
});

describe("chat", () => {
  it(
    "answers each line of a pipe, and reuses what it has read",
    async () => {
      const { code, stdout, stderr } = await sluice(
        ["chat", "--temperature", "0", "--max-tokens", "16", ...onTestAdapter],
        {
          input: "Hello!\nWhat is your name?\n/stats\n/nonsense\n/clear\n/exit\nNever read\n",
        },
      );
      expect(code, stderr).toBe(0);
      const lines = stdout.trim().split("\n");
      expect(lines[0]).not.toBe("");
      expect(stdout).toMatch(/Sprout/);
      expect(stdout).toMatch(/prompt +\d+ tokens, [1-9]\d* of them known from before/);
      expect(lines.slice(-2)).toEqual([
        "There is no /nonsense; /help lists what there is.",
        "The conversation is empty.",
      ]);
      expect(stderr).toMatch(/^sprout: 28\.2 M parameters, 4096 tokens of context; /m);
    },
    COMPILING_MS,
  );

  it(
    "shows a call, and takes the next line for its result",
    async () => {
      const tools = join(folder, "tools.json");
      writeFileSync(tools, JSON.stringify(sproutReference.cases.find(({ name }) => name === "tool call")!.tools));
      const { code, stdout, stderr } = await sluice(
        ["chat", "--temperature", "0", "--tools", tools, ...onTestAdapter],
        {
          input: 'What is the weather in Lisbon?\n{"temperature": 14, "condition": "rainy"}\n',
        },
      );
      expect(code, stderr).toBe(0);
      const [call, hint, answer] = stdout.trim().split("\n");
      expect(call).toBe('→ get_weather({"city": "Lisbon"})');
      expect(hint).toBe("[the next line is the result of get_weather]");
      expect(answer).toContain("rainy");
    },
    COMPILING_MS,
  );

  it("draws another reply with /regenerate, and begins again with /system", async () => {
    const { code, stdout, stderr } = await sluice(["chat", "--reference", "--seed", "1", "--max-tokens", "12"], {
      input: "Tell me a story.\n/regenerate\n/system Be brief.\n/regenerate\n",
    });
    expect(code, stderr).toBe(0);
    const [first, second, ...rest] = stdout.trim().split("\n");
    expect(second).not.toBe(first);
    expect(rest).toEqual([
      "The system prompt is set, and the conversation is empty.",
      "There is no message to answer yet.",
    ]);
  });
});

describe("score", () => {
  it.each([
    { where: "the reference", args: ["--reference"], limit: 1e-5 },
    { where: "the GPU", args: onTestAdapter, limit: 2e-4 },
  ])(
    "computes on $where what the golden run computed",
    async ({ args, limit }) => {
      const out = join(folder, "scores.safetensors");
      const files = ["--model", fixtureFolder(FIXTURE), "--tokens", tokensFile, "--out", out];
      const { code, stderr } = await sluice(["score", ...files, "--hidden", ...args]);
      expect(code, stderr).toBe(0);
      const written = readdirSync(folder).filter((name) => name.includes("scores"));
      expect(written).toEqual(["scores.safetensors"]);

      const T = golden.tokens.length;
      const scores = await readTensors(out);
      expect(scores.logits.shape).toEqual([T, 512]);
      expect(scores.hidden.shape).toEqual([golden.hidden.length, T, 128]);
      expect(scores.router).toMatchObject({ dtype: "I32", shape: [golden.router.length, T, 4] });
      expectClose(new Float32Array(scores.logits.data), golden.logits, limit, "logits");
      expectClose(
        new Float32Array(scores.hidden.data),
        golden.hidden.flatMap((x) => [...x]),
        limit,
        "hidden",
      );
      const sets = (ids: ArrayLike<number>) =>
        Array.from({ length: ids.length / 4 }, (_, i) =>
          Array.from(ids)
            .slice(4 * i, 4 * i + 4)
            .sort()
            .join(),
        );
      expect(sets(new Int32Array(scores.router.data))).toEqual(sets(golden.router.flatMap((ids) => [...ids])));
    },
    COMPILING_MS,
  );
});

describe("inspect", () => {
  it("counts parameters, tensors and memory", async () => {
    const report = await json(["inspect", fixtureFolder(FIXTURE), ...onTestAdapter]);
    expect(report).toMatchObject({ modelType: "qwen3_next", layers: { total: 4, delta: 3, attention: 1, moe: 4 } });
    const read = async (name: string) => JSON.parse(await readFile(join(fixtureFolder(FIXTURE), name), "utf8"));
    const config = await read("config.json");
    // As transformers counts them.
    const { parameters } = await read("reference.json");
    const { hidden_size: H, vocab_size: V, num_experts: experts, num_experts_per_tok: chosen } = config;
    const idleExperts = 4 * (experts - chosen) * 3 * config.moe_intermediate_size * H;
    expect(report.parameters).toEqual({ total: parameters, active: parameters - idleExperts - V * H });

    const file = await readTensors(join(fixtureFolder(FIXTURE), "model.safetensors"));
    const bytes = Object.values(file).reduce((sum, { data }) => sum + data.byteLength, 0);
    const count = Object.keys(file).length;
    expect(report.tensors).toEqual({ count, bytes, formats: { bf16: { count, bytes } } });

    const { total, ...parts } = report.plan.memory as Record<string, number>;
    expect(Object.values(parts).reduce((a, b) => a + b)).toBe(total);
    const formats = Object.values(report.plan.weights) as { bytes: number }[];
    expect(formats.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(parts.weights);

    const args = ["--context", "2048", "--quantization", "q8", "--dtype", "f32"];
    const other = await json(["inspect", fixtureFolder(FIXTURE), ...args, ...onTestAdapter]);
    // 33 blocks of twice the bytes, where there were 65: half the tokens, and one for copies.
    const blockBytes = (parts.kvCache / 65) * (report.plan.dtype === "f16" ? 2 : 1);
    expect(other.plan.memory.kvCache).toBe(33 * blockBytes);
    const many = await json([
      "inspect",
      fixtureFolder(FIXTURE),
      "--sequences",
      "4",
      "--cache-tokens",
      "8192",
      ...onTestAdapter,
    ]);
    expect(many.plan.memory.recurrentState).toBe(4 * parts.recurrentState);
    expect(many.plan.memory.kvCache).toBe((129 / 65) * parts.kvCache);
    expect(other.plan.memory.weights).toBeLessThan(0.6 * parts.weights);
  });

  it("describes Sprout to a person", async () => {
    const { stdout } = await sluice(["inspect"]);
    expect(stdout).toMatch(/layers +8: 6 delta, 2 attention/);
    expect(stdout).toMatch(/parameters +28\.2 M, of which 10\.3 M work on a token/);
  });
});

describe("bench", () => {
  const args = ["bench", fixtureFolder(FIXTURE), "--prompt", "9", "--depth", "5", "--tokens", "4", "--repeats", "2"];

  it(
    "measures one readback a token",
    async () => {
      const { decode, prefill, dispatchesPerToken, memory, bandwidth, device, version } = await json([
        ...[...args, "--prompt", "9,17", "--depth", "5,20"],
        ...onTestAdapter,
      ]);
      expect(prefill.map(({ prompt }: { prompt: number }) => prompt)).toEqual([9, 17]);
      expect(decode.map(({ depth }: { depth: number }) => depth)).toEqual([5, 20]);
      expect(decode[0].readbacksPerToken).toBe(1);
      expect(decode[0].tokensPerSecond.median).toBeGreaterThanOrEqual(decode[0].tokensPerSecond.p95);
      expect(decode[0].cpuMsPerToken).toBeGreaterThan(0);
      expect(decode[1].bytesPerToken).toBeGreaterThan(decode[0].bytesPerToken);
      expect(decode[0].shareOfBandwidth).toBeCloseTo((1e9 * decode[0].gigabytesPerSecond) / bandwidth);
      expect(prefill[0].timeToFirstTokenMs.median).toBeGreaterThan(0);
      expect(dispatchesPerToken).toBeGreaterThan(10);
      expect(memory.allocated).toBeGreaterThan(0);
      expect(device.name).not.toBe("");
      expect(version).toMatch(/^\d/);
    },
    COMPILING_MS,
  );

  it("measures the reference, too", async () => {
    const { code, stdout } = await sluice([...args, "--reference"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/decode of 4 tokens after 5 .* tokens\/s/);
  });
});

describe("devices", () => {
  it("lists the adapter under test", async () => {
    const [first] = await json(["devices"]);
    expect(first.name).not.toBe("");
    expect(first.limits.maxStorageBuffersPerShaderStage).toBeGreaterThanOrEqual(8);
  });
});

async function readTensors(path: string) {
  const file = new Uint8Array(await readFile(path));
  const entries = parseSafetensors(file, path).tensors.map(
    ({ name, dtype, shape, from, to }) => [name, { dtype, shape, data: file.slice(from, to).buffer }] as const,
  );
  return Object.fromEntries(entries);
}
