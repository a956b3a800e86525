import { Tokenizer as BpeTokenizer, ByteLevelDecoder } from "@huggingface/tokenizers";
import { CheckpointError } from "../errors.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { PartEncoder } from "./part-encoder.ts";
import { TextStream } from "./text-stream.ts";

/** Text to token ids and back, by a checkpoint's byte-level BPE. Fails with `CheckpointError` on any other tokenizer. */
export class Tokenizer {
  readonly #bpe: BpeTokenizer;
  /** Ids whose text `skipSpecial` drops. Tokens such as `<think>` are added but not special, so they stay. */
  readonly #special: ReadonlySet<number>;
  readonly #added: ReadonlyMap<string, number>;
  readonly #bytes: (Uint8Array | undefined)[] = [];
  readonly #long: PartEncoder;
  /** One more than the highest id that stands for a text. A model's embedding may have more rows than that. */
  readonly vocabularySize: number;

  /** `source` names the checkpoint in errors. */
  constructor(files: NonNullable<Checkpoint["tokenizer"]>, source: string) {
    requireByteLevelBpe(files.json, source);
    try {
      this.#bpe = new BpeTokenizer(files.json as object, files.config);
    } catch (error) {
      throw new CheckpointError(source, `tokenizer.json cannot be used: ${messageOf(error)}`, { cause: error });
    }
    const added = [...this.#bpe.get_added_tokens_decoder()];
    this.#added = new Map(added.map(([id, token]) => [token.content, id]));
    this.#special = new Set(added.filter(([, token]) => token.special).map(([id]) => id));
    this.vocabularySize = this.#bpe.model!.vocab.length;
    // Where a letter takes along one character before it, but no line break, none of these cuts goes through a token.
    const afterLineBreaks = JSON.stringify(files.json).includes(JSON.stringify("[^\\r\\n\\p{L}\\p{N}]?").slice(1, -1));
    const specials = added.filter(([, { special, lstrip, rstrip }]) => special && !lstrip && !rstrip);
    this.#long = new PartEncoder((text) => this.encode(text), {
      specials: specials.map(([, { content }]) => content),
      afterLineBreaks,
    });
  }

  /** Token ids of a text. Added and special tokens in it are recognised; nothing is put in front. */
  encode(text: string): number[] {
    return this.#bpe.encode(text, { add_special_tokens: false }).ids;
  }

  /** The same, which holds up nobody however long the text is, and is quick where its beginning was there before. */
  encodeLong(text: string): Promise<number[]> {
    return this.#long.encode(text);
  }

  /** The text of token ids; bytes that are no UTF-8 become U+FFFD, ids that stand for nothing become "". */
  decode(ids: readonly number[], options: { skipSpecial?: boolean } = {}): string {
    const stream = new TextStream(this, options);
    return stream.push(ids) + stream.flush();
  }

  /** The id of the one token that is exactly this text, added tokens first. */
  tokenId(content: string): number | undefined {
    return this.#added.get(content) ?? this.#bpe.token_to_id(toByteLevel(content));
  }

  /** Whether a token marks structure (`<|im_end|>`) and is no part of what a person reads. */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  /** What a token stands for, in UTF-8; not always whole characters. */
  bytes(id: number): Uint8Array {
    this.#bytes[id] ??= this.#toBytes(id);
    return this.#bytes[id];
  }

  /** What a token stands for, one printable character a byte, as byte-level BPE writes it; "" for special tokens. */
  piece(id: number): string {
    return this.isSpecial(id) ? "" : Array.from(this.bytes(id), (byte) => charOf[byte]).join("");
  }

  #toBytes(id: number): Uint8Array {
    const token = this.#bpe.id_to_token(id) ?? "";
    return this.#added.get(token) === id ? utf8.encode(token) : Uint8Array.from(token, (char) => byteOf[char]!);
  }
}

function requireByteLevelBpe(json: unknown, source: string): void {
  const { model, decoder, added_tokens } = (json ?? {}) as Partial<Record<string, unknown>> & {
    model?: { type?: unknown; vocab?: unknown; merges?: unknown };
    decoder?: { type?: unknown };
  };
  if (model?.type !== "BPE") {
    throw new CheckpointError(
      source,
      `tokenizer.json has a tokenizer of type ${JSON.stringify(model?.type)}; ${needed}`,
    );
  }
  if (decoder?.type !== "ByteLevel") {
    throw new CheckpointError(
      source,
      `tokenizer.json has a decoder of type ${JSON.stringify(decoder?.type)}; ${needed}`,
    );
  }
  if (!isObject(model.vocab) || !Array.isArray(model.merges) || !Array.isArray(added_tokens)) {
    throw new CheckpointError(
      source,
      "tokenizer.json lacks its vocabulary, merges or added tokens. Download it again.",
    );
  }
}

const needed = "Sluice reads byte-level BPE, which every model of this family has.";
const utf8 = new TextEncoder();

/** Byte-level BPE writes each byte as one printable character: the library's table, and its inverse. */
const byteOf = new ByteLevelDecoder({ type: "ByteLevel" }).byte_decoder;
const charOf: string[] = [];
for (const [char, byte] of Object.entries(byteOf)) charOf[Number(byte)] = char;

function toByteLevel(text: string): string {
  return Array.from(utf8.encode(text), (byte) => charOf[byte]).join("");
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
