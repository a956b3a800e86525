import type { XGrammar } from "virtual:xgrammar";
import type { CompiledGrammar, GrammarCompiler } from "@mlc-ai/web-xgrammar";
import { InvalidRequestError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { GrammarConstraint } from "./grammar-constraint.ts";
import type { Structure } from "./structure.ts";

interface Instance {
  readonly library: XGrammar;
  readonly compiler: GrammarCompiler;
  /** What the library has said of its last failure. */
  readonly log: string[];
  /** Compiled structures by their text, longest unused first. */
  readonly compiled: Map<string, CompiledGrammar>;
}

/** Compiled structures to keep: a service is asked for the same few schemas again and again. */
const KEPT = 32;

/** Holds replies to a structure, through XGrammar, which is loaded when the first one is asked for. */
export class GrammarEngine {
  readonly #tokenizer: Tokenizer;
  readonly #vocabularySize: number;
  readonly #stopIds: readonly number[];
  #instance: Promise<Instance> | undefined;

  /** @param vocabularySize logits of the model, padding included */
  constructor(tokenizer: Tokenizer, options: { vocabularySize: number; stopIds: readonly number[] }) {
    this.#tokenizer = tokenizer;
    this.#vocabularySize = options.vocabularySize;
    this.#stopIds = options.stopIds;
  }

  /**
   * A constraint for one reply; the caller disposes of it.
   *
   * @param field names what was wrong in the request
   * @throws InvalidRequestError where the structure makes no grammar
   */
  async constrain(structure: Structure, field: string): Promise<GrammarConstraint> {
    this.#instance ??= this.#create();
    const instance = await this.#instance;
    try {
      const grammar = await compile(instance, structure);
      const matcher = await instance.library.GrammarMatcher.createGrammarMatcher(grammar);
      return new GrammarConstraint(matcher, field);
    } catch (error) {
      // An instance that has failed cannot be trusted with another grammar.
      this.#instance = undefined;
      throw new InvalidRequestError(field, `the grammar engine refuses it: ${reason(instance.log, error)}`);
    }
  }

  async #create(): Promise<Instance> {
    const { createXGrammar } = await import("virtual:xgrammar");
    const log: string[] = [];
    const library = createXGrammar((message) => log.push(message));
    const vocabulary = Array.from({ length: this.#vocabularySize }, (_, id) => this.#tokenizer.piece(id));
    const info = await library.TokenizerInfo.createTokenizerInfo(
      vocabulary,
      "byte_level",
      false,
      this.#vocabularySize,
      [...this.#stopIds],
    );
    // It would keep everything ever compiled.
    const compiler = await library.GrammarCompiler.createGrammarCompiler(info, false);
    return { library, compiler, log, compiled: new Map() };
  }
}

async function compile(instance: Instance, structure: Structure): Promise<CompiledGrammar> {
  const { compiler, compiled, library } = instance;
  const key = JSON.stringify(structure);
  const grammar =
    compiled.get(key) ?? (await compiler.compileStructuralTag({ format: await withGrammars(structure, library) }));
  compiled.delete(key);
  compiled.set(key, grammar);
  if (compiled.size > KEPT) {
    const [oldest, unused] = compiled.entries().next().value!;
    compiled.delete(oldest);
    unused.dispose();
  }
  return grammar;
}

/** Line break and indentation. Without a bound, some models fill their reply with nothing else. */
const MAX_WHITESPACE = 16;

/** The same with its schemas made to grammars. Left to the library, they would allow any amount of space. */
async function withGrammars(structure: Structure, library: XGrammar): Promise<Structure> {
  const all = <S extends Structure>(parts: readonly S[]) =>
    Promise.all(parts.map((part) => withGrammars(part, library) as Promise<S>));
  switch (structure.type) {
    case "json_schema": {
      const schema = JSON.stringify(structure.json_schema);
      const { Grammar } = library;
      const grammar = await Grammar.fromJSONSchema(schema, true, undefined, undefined, true, MAX_WHITESPACE);
      const text = grammar.toString();
      grammar.dispose();
      return { type: "grammar", grammar: text };
    }
    case "tag":
      return { ...structure, content: await withGrammars(structure.content, library) };
    case "sequence":
    case "or":
      return { ...structure, elements: await all(structure.elements) };
    case "triggered_tags":
    case "tags_with_separator":
      return { ...structure, tags: await all(structure.tags) };
    default:
      return structure;
  }
}

/** The library writes "[FATAL] file:line: reason" and aborts; of what its C++ throws, only a number arrives. */
function reason(log: string[], error: unknown): string {
  const said = log.splice(0).find((line) => line.startsWith("[FATAL]"));
  const text = said?.replace(/^\[FATAL\]\s+\S+:\d+:\s+/, "").split("\n")[0];
  return (
    text ?? (error instanceof WebAssembly.RuntimeError ? "it is nested too deeply or too large." : "it is malformed.")
  );
}
