import { CheckpointError } from "../../errors.ts";
import type { Checkpoint } from "../checkpoint.ts";
import type { Metadata } from "./metadata.ts";

/** How text is cut before merging, by `tokenizer.ggml.pre`; files carry the name only. */
const PATTERNS: Readonly<Record<string, string>> = {
  qwen2: pattern("\\p{L}", ""),
  qwen35: pattern("[\\p{L}\\p{M}]", "\\p{M}"),
};

/** Contractions; words with one sign before them; single digits; signs; line ends; spaces. `marks` belong to letters. */
function pattern(letter: string, marks: string): string {
  return [
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)",
    `[^\\r\\n\\p{L}\\p{N}]?${letter}+`,
    "\\p{N}",
    ` ?[^\\s\\p{L}${marks}\\p{N}]+[\\r\\n]*`,
    "\\s*[\\r\\n]+",
    "\\s+(?!\\S)",
    "\\s+",
  ].join("|");
}

/** `tokenizer.ggml.token_type` */
const CONTROL = 3;
const USER_DEFINED = 4;
const UNUSED = 5;

/**
 * tokenizer.json and tokenizer_config.json as the metadata implies them; undefined where a file has no vocabulary.
 * Fails with `CheckpointError` for anything but the byte-level BPE of the family.
 */
export function ggufTokenizer(label: string, metadata: Metadata): Checkpoint["tokenizer"] {
  const kind = metadata.text("tokenizer.ggml.model");
  if (kind === undefined || kind === "none") return undefined;
  const pre = metadata.text("tokenizer.ggml.pre") ?? "";
  const regex = PATTERNS[pre];
  if (kind !== "gpt2" || regex === undefined) {
    const known = Object.keys(PATTERNS).join(" or ");
    throw new CheckpointError(
      label,
      `its tokenizer is ${kind} with ${pre || "no pre-tokenizer"}; Sluice reads gpt2 with ${known}.`,
    );
  }
  const tokens = texts(label, metadata, "tokens");
  const merges = texts(label, metadata, "merges");
  const types = metadata.get("tokenizer.ggml.token_type");
  const typeOf = (id: number) => (ArrayBuffer.isView(types) ? types[id] : undefined);
  const isAdded = (id: number) => typeOf(id) === CONTROL || typeOf(id) === USER_DEFINED;
  const ids = tokens.map((_, id) => id);
  const special = (name: string) => tokens[metadata.number(`tokenizer.ggml.${name}_token_id`) ?? -1];
  return {
    json: {
      version: "1.0",
      added_tokens: ids.filter(isAdded).map((id) => addedToken(id, tokens[id], typeOf(id) === CONTROL)),
      normalizer: { type: "NFC" },
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
          { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
        ],
      },
      post_processor: null,
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        vocab: Object.fromEntries(
          ids.filter((id) => !isAdded(id) && typeOf(id) !== UNUSED).map((id) => [tokens[id], id]),
        ),
        merges: merges.map((merge) => merge.split(" ")),
        byte_fallback: false,
        ignore_merges: false,
      },
    },
    config: { eos_token: special("eos"), pad_token: special("padding"), clean_up_tokenization_spaces: false },
  };
}

const addedToken = (id: number, content: string, special: boolean) => ({
  ...{ id, content, special },
  ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
});

function texts(label: string, metadata: Metadata, name: string): readonly string[] {
  const value = metadata.get(`tokenizer.ggml.${name}`);
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw new CheckpointError(label, `tokenizer.ggml.${name} is missing or no list of texts: the file is incomplete.`);
}
