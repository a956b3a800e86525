import type { GrammarMatcher, XGrammar } from "virtual:xgrammar";
import type { CompiledGrammar, GrammarCompiler } from "@mlc-ai/web-xgrammar";
import type { Structure } from "./structure.ts";

/** What a grammar is made for. */
export interface GrammarVocabulary {
  /** The text of every id as the tokenizer writes it, padding included. */
  readonly pieces: readonly string[];
  readonly stopIds: readonly number[];
}

/** A structure that makes no grammar; the message says why. */
export class GrammarError extends Error {}

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

/** XGrammar in this thread, loaded when the first structure comes. */
export class GrammarHost {
  readonly #vocabulary: GrammarVocabulary;
  #instance: Promise<Instance> | undefined;

  constructor(vocabulary: GrammarVocabulary) {
    this.#vocabulary = vocabulary;
  }

  /**
   * What follows one reply; the caller disposes of it.
   *
   * @throws GrammarError
   */
  async matcher(structure: Structure): Promise<GrammarMatcher> {
    this.#instance ??= this.#create();
    const instance = await this.#instance;
    try {
      const grammar = await compile(instance, structure);
      return await instance.library.GrammarMatcher.createGrammarMatcher(grammar);
    } catch (error) {
      // An instance that has failed cannot be trusted with another grammar.
      this.#instance = undefined;
      throw new GrammarError(reason(instance.log, error));
    }
  }

  async #create(): Promise<Instance> {
    const { createXGrammar } = await import("virtual:xgrammar");
    const log: string[] = [];
    const library = createXGrammar((message) => log.push(message));
    const { pieces, stopIds } = this.#vocabulary;
    const info = await library.TokenizerInfo.createTokenizerInfo([...pieces], "byte_level", false, pieces.length, [
      ...stopIds,
    ]);
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
