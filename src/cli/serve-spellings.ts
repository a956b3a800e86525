/** What `sluice serve` calls an option that another server calls otherwise. MODEL stands for the argument. */
const MODEL = "MODEL";

const ALIASES: Readonly<Record<string, readonly string[]>> = {
  [MODEL]: ["--model", "--model-path", "-m"],
  "--uds": ["--unix-socket"],
  "--max-model-len": ["--context-length", "--ctx-size", "-c"],
  "--max-num-seqs": ["--max-running-requests", "--parallel", "-np"],
  "--max-num-batched-tokens": ["--chunked-prefill-size", "--batch-size", "-b", "--ubatch-size", "-ub"],
  "--kv-cache-tokens": ["--max-total-tokens"],
  "--gpu-memory-utilization": ["--mem-fraction-static"],
  "--max-num-queued-reqs": ["--max-queued-requests"],
  "--served-model-name": ["--alias", "-a"],
  "--ssl-certfile": ["--ssl-cert-file"],
  "--ssl-keyfile": ["--ssl-key-file"],
  "--hf-overrides": ["--json-model-override-args"],
  "--default-chat-template-kwargs": ["--chat-template-kwargs"],
  "--log-requests": ["--enable-log-requests"],
  "--log-level": ["--uvicorn-log-level"],
  "--no-warmup": ["--skip-server-warmup"],
  "--tokenizer": ["--tokenizer-path"],
  "--tensor-parallel-size": ["--tp-size", "--tp", "-tp"],
  "--data-parallel-size": ["--dp-size", "--dp", "-dp"],
  "--pipeline-parallel-size": ["--pp-size", "--pp", "-pp"],
};

/** Options that become others: each gives the value of `--hf-overrides` or `--speculative-config`, whose parts are merged. */
const TRANSLATIONS: Readonly<Record<string, (value: string) => readonly [option: string, value: object]>> = {
  "--rope-scaling": (value) => rope(value.trim().startsWith("{") ? JSON.parse(value) : { rope_type: ropeType(value) }),
  "--rope-scale": (value) => rope({ factor: Number(value) }),
  "--yarn-orig-ctx": (value) => rope({ original_max_position_embeddings: Number(value) }),
  "--rope-theta": (value) => rope({ rope_theta: Number(value) }),
  "--rope-freq-base": (value) => rope({ rope_theta: Number(value) }),
  "--speculative-algorithm": (value) => speculation({ method: value.toLowerCase() }),
  "--speculative-num-steps": (value) => speculation({ num_speculative_tokens: Number(value) }),
  "--spec-type": (value) => speculation({ method: value.replace(/^draft-/, "") }),
  "--spec-draft-n-max": (value) => speculation({ num_speculative_tokens: Number(value) }),
};

const rope = (fields: object) => ["--hf-overrides", { rope_parameters: fields }] as const;
const ropeType = (name: string) => (name === "none" ? "default" : name);
const speculation = (fields: object) => ["--speculative-config", fields] as const;

/** Why options of other servers change nothing here, and the options; a value is to follow those that end in `=`. */
const WITHOUT_EFFECT: readonly (readonly [why: string, options: string])[] = [
  [
    "calls and thoughts are always read, in the form that the model's template has",
    "--enable-auto-tool-choice --tool-call-parser= --reasoning-parser= --enable-reasoning --jinja --reasoning-format=",
  ],
  ["the model's own template is used", "--chat-template= --chat-template-content-format= --chat-template-file="],
  [
    "prefixes are always reused",
    "--enable-prefix-caching --no-enable-prefix-caching --disable-radix-cache --enable-chunked-prefill --cont-batching -cb " +
      "--mamba-cache-mode= --mamba-scheduler-strategy= --mamba-full-memory-ratio= --mamba-ssm-dtype= --page-size= --block-size= " +
      "--enable-hierarchical-cache -cram= --ctx-checkpoints= -ctxcp=",
  ],
  ["the KV cache has the numbers of --dtype", "--kv-cache-dtype= --cache-type-k= -ctk= --cache-type-v= -ctv="],
  [
    "usage and metrics are always told",
    "--enable-metrics --metrics --enable-cache-report --enable-prompt-tokens-details --slots --props",
  ],
  [
    "nothing is swapped; --memory says how much of the device to take",
    "--swap-space= --cpu-offload-gb= --n-cpu-moe= -ncmoe= --cpu-moe --override-tensor= -ot=",
  ],
  [
    "all layers run on the device",
    "--n-gpu-layers= --gpu-layers= -ngl= --fit= --split-mode= -sm= --tensor-split= -ts= --main-gpu= -mg=",
  ],
  [
    "kernels are chosen for the device at hand",
    "--enforce-eager --attention-backend= --sampling-backend= --moe-runner-backend= --flash-attn= -fa= --disable-cuda-graph " +
      "--cuda-graph-max-bs= --compilation-config= --enable-torch-compile --async-scheduling --threads= -t= --mlock --no-mmap",
  ],
  [
    "how the model is divided is chosen by Sluice",
    "--enable-expert-parallel --expert-parallel-size= --ep-size= --distributed-executor-backend=",
  ],
  ["no code of a model is run", "--trust-remote-code --tokenizer-mode="],
  ["sampling defaults are the checkpoint's", "--generation-config="],
  ["what is drawn depends on each request's seed alone", "--seed="],
  [
    "requests are served in the order in which they come",
    "--scheduling-policy= --schedule-policy= --schedule-conservativeness=",
  ],
  ["prompts are never logged unless --log-requests asks for it", "--disable-log-requests --no-enable-log-requests"],
  ["speculation is off", "--speculative-eagle-topk= --speculative-num-draft-tokens="],
  ["there is none", "--no-webui --limit-mm-per-prompt= --language-model-only --watchdog-timeout="],
];

/** An option as it stands in a command line or a file. */
export interface Setting {
  readonly option: string;
  /** Empty for a switch. */
  readonly values: readonly string[];
}

/** One of our options, as far as it says what follows it. */
export interface KnownOption {
  readonly long?: string;
  readonly takesValue: boolean;
  readonly isList: boolean;
}

export interface Respelled {
  readonly model?: string;
  readonly rest: readonly string[];
  readonly settings: readonly Setting[];
  /** What was accepted without effect, and why. */
  readonly notes: readonly string[];
}

/** Fails with a message for the user. */
export class SpellingError extends Error {}

/**
 * Reads arguments in the spellings of vLLM, SGLang and llama-server and gives them in ours. As `argparse` has it, the beginning
 * of an option's name stands for it where it can be no other, and `_` for `-`.
 */
export function respell(args: readonly string[], known: readonly KnownOption[]): Respelled {
  const names = nameTable(known);
  const settings: Setting[] = [];
  const notes: string[] = [];
  const rest: string[] = [];
  let model: string | undefined;
  const queue = [...args];
  for (let arg = queue.shift(); arg !== undefined; arg = queue.shift()) {
    if (arg === "--") {
      rest.push(...queue.splice(0));
    } else if (/^--help$|^-h$|^[^-]|^-?$/.test(arg)) {
      rest.push(arg);
    } else {
      const [, written, attached] = /^([^=]+)(?:=(.*))?$/s.exec(arg)!;
      const name = findName(written, names);
      const meaning = names.get(name)!;
      const values = attached === undefined ? takeValues(queue, meaning, name) : [attached];
      if (meaning.why !== undefined) notes.push(`${name} has no effect: ${meaning.why}.`);
      else if (meaning.option === MODEL) model = values[0];
      else settings.push(translated(name, { option: meaning.option, values }));
    }
  }
  return { model, rest, settings, notes };
}

/** The command line that our own parser reads. */
export const commandLine = ({ model, rest, settings }: Respelled): string[] => [
  ...(model === undefined ? rest : [model, ...rest]),
  ...settings.flatMap(({ option, values }) =>
    values.length === 0 ? [option] : values.map((value) => (option.startsWith("--") ? `${option}=${value}` : value)),
  ),
];

interface Meaning {
  readonly option: string;
  readonly takes: "nothing" | "one" | "many" | "perhaps";
  readonly why?: string;
}

function nameTable(known: readonly KnownOption[]): Map<string, Meaning> {
  const table = new Map<string, Meaning>();
  for (const [why, options] of WITHOUT_EFFECT) {
    for (const option of options.split(" ")) {
      const name = option.replace(/=$/, "");
      table.set(name, { option: name, why, takes: option === name ? "nothing" : "perhaps" });
    }
  }
  for (const name of Object.keys(TRANSLATIONS)) table.set(name, { option: name, takes: "one" });
  for (const { long, takesValue, isList } of known) {
    if (long) table.set(long, { option: long, takes: isList ? "many" : takesValue ? "one" : "nothing" });
  }
  for (const [option, aliases] of Object.entries(ALIASES)) {
    const meaning = option === MODEL ? ({ option, takes: "one" } as const) : table.get(option);
    for (const alias of aliases) if (meaning) table.set(alias, meaning);
  }
  return table;
}

function findName(written: string, names: ReadonlyMap<string, Meaning>): string {
  const name = written.startsWith("--") ? written.replaceAll("_", "-") : written;
  if (names.has(name)) return name;
  const longer = name.startsWith("--") ? [...names.keys()].filter((candidate) => candidate.startsWith(name)) : [];
  if (new Set(longer.map((candidate) => names.get(candidate)!.option)).size === 1) return longer[0];
  if (longer.length > 1) throw new SpellingError(`${written} may be ${longer.join(" or ")}.`);
  const near = nearest(name, [...names.keys()]);
  throw new SpellingError(`unknown option '${written}'${near ? `\n(Did you mean ${near}?)` : ""}`);
}

function takeValues(queue: string[], { takes }: Meaning, name: string): string[] {
  if (takes === "nothing") return [];
  const isValue = (arg: string | undefined) => arg !== undefined && !/^-+[a-z]/i.test(arg);
  if (takes === "perhaps") return isValue(queue[0]) ? [queue.shift()!] : [];
  const values: string[] = [];
  while (isValue(queue[0]) && (takes === "many" || values.length === 0)) values.push(queue.shift()!);
  if (values.length === 0) throw new SpellingError(`option '${name}' argument missing`);
  return values;
}

function translated(name: string, setting: Setting): Setting {
  const translate = TRANSLATIONS[name];
  if (!translate) return setting;
  try {
    const [option, value] = translate(setting.values[0]);
    return { option, values: [JSON.stringify(value)] };
  } catch (error) {
    throw new SpellingError(`option '${name}' takes JSON: ${(error as Error).message}`);
  }
}

/** The name with the fewest letters to change, if those are few. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const ranked = names
    .map((candidate) => ({ candidate, far: distance(name, candidate) }))
    .sort((a, b) => a.far - b.far);
  return ranked[0].far <= Math.max(2, name.length / 3) ? ranked[0].candidate : undefined;
}

/** Levenshtein's: letters to insert, remove or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
