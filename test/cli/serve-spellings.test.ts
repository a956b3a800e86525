import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { ServeCommand } from "../../src/cli/serve-command.ts";
import { type ServeOptions, serveOptions } from "../../src/cli/serve-options.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-spellings-"));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

function parse(line: string | readonly string[]) {
  const command = new ServeCommand("serve")
    .argument("[model]")
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  let result: { model?: string; options: ServeOptions } | undefined;
  serveOptions(command, 8000).action((model, options) => {
    result = { model, options };
  });
  command.parse(typeof line === "string" ? line.split(" ").filter(Boolean) : line, { from: "user" });
  return { ...result!, notes: (command as ServeCommand).notes };
}

const yarn = { rope_parameters: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 262_144 } };
const yarnJson = JSON.stringify(yarn.rope_parameters);

describe("options of", () => {
  it("vLLM", () => {
    const { model, options, notes } = parse([
      ..."Qwen/Qwen3-Next-80B-A3B-Instruct --port 8001 --tensor-parallel-size 4 --max-model-len 262144 --served-model-name a b".split(
        " ",
      ),
      ..."--enable-auto-tool-choice --tool-call-parser hermes --enforce-eager --gpu_memory_utilization=0.9".split(" "),
      "--speculative-config",
      '{"method":"qwen3_next_mtp","num_speculative_tokens":2}',
    ]);
    expect(model).toBe("Qwen/Qwen3-Next-80B-A3B-Instruct");
    expect(options).toMatchObject({
      port: 8001,
      maxModelLen: 262_144,
      servedModelName: ["a", "b"],
      gpuMemoryUtilization: 0.9,
      speculativeConfig: { method: "qwen3_next_mtp", num_speculative_tokens: 2 },
    });
    expect(notes.join("\n")).toMatch(/--tool-call-parser has no effect: calls and thoughts are always read/);
    expect(notes.join("\n")).toContain("--enforce-eager");
  });

  it("SGLang, the beginnings of names among them", () => {
    const { model, options } = parse(
      "--model-path m --port 30000 --tp-size 4 --context-length 256k --speculative-algo NEXTN --speculative-num-steps 3 " +
        "--mem-fraction-static 0.8 --max-running-requests 5 --disable-radix-cache",
    );
    expect(model).toBe("m");
    expect(options).toMatchObject({
      port: 30_000,
      maxModelLen: 262_144,
      gpuMemoryUtilization: 0.8,
      maxNumSeqs: 5,
      speculativeConfig: { method: "nextn", num_speculative_tokens: 3 },
    });
  });

  it("llama-server", () => {
    const { model, options } = parse("-m m.gguf -c 4096 -np 3 -ngl 99 -fa on --jinja --alias x --host 0.0.0.0");
    expect(model).toBe("m.gguf");
    expect(options).toMatchObject({ maxModelLen: 4096, maxNumSeqs: 3, servedModelName: ["x"], host: "0.0.0.0" });
  });

  it.each([
    [["--rope-scaling", yarnJson]],
    [["--hf-overrides", JSON.stringify(yarn)]],
    [["--json-model-override-args", JSON.stringify(yarn)]],
    ["--rope-scaling yarn --rope-scale 4 --yarn-orig-ctx 262144".split(" ")],
  ])("all, for YaRN: %j", (args) => {
    expect(parse(args).options.hfOverrides).toEqual(yarn);
  });
});

describe("a command line that makes no sense", () => {
  it.each([
    ["--context-lenght 5", "Did you mean --context-length?"],
    ["--max-num 3", "--max-num-seqs or --max-num-batched-tokens"],
    ["--wubble", "unknown option '--wubble'"],
    ["--port", "'--port' argument missing"],
    ["--gpu-memory-utilization 90", "0.9"],
    ["--rope-scaling {", "takes JSON"],
  ])("is refused: %s", (line, says) => {
    expect(() => parse(line)).toThrow(says);
  });
});

describe("options elsewhere", () => {
  const file = join(folder, "serve.yaml");
  writeFileSync(
    file,
    "model: from-file\nport: 1\ncontext-length: 8k\nserved_model_name: [x, y]\nenforce-eager: false\nstrict-model: true\n",
  );

  it("in a file, where the environment and the command line win", () => {
    vi.stubEnv("SLUICE_PORT", "2");
    vi.stubEnv("SLUICE_MAX_NUM_SEQS", "7");
    const { model, options } = parse(`--config ${file} --served-model-name z`);
    expect(model).toBe("from-file");
    expect(options).toMatchObject({
      port: 2,
      maxModelLen: 8192,
      servedModelName: ["z"],
      strictModel: true,
      maxNumSeqs: 7,
    });
    expect(parse(`mine --config ${file} --port 3`)).toMatchObject({ model: "mine", options: { port: 3 } });
  });

  it("as switches of the environment, which may be off", () => {
    vi.stubEnv("SLUICE_STRICT_MODEL", "0");
    expect(parse("").options.strictModel).toBeUndefined();
    vi.stubEnv("SLUICE_STRICT_MODEL", "1");
    expect(parse("").options.strictModel).toBe(true);
  });
});
