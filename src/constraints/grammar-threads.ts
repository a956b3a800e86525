import { InvalidRequestError, LLMError } from "../errors.ts";
import type { GrammarVocabulary } from "./grammar-host.ts";
import type { FromGrammars, GrammarThread } from "./grammar-messages.ts";
import type { Structure } from "./structure.ts";
import { type ConstraintHost, ThreadConstraint } from "./thread-constraint.ts";

/** Each has the vocabulary for itself. */
const MAX_THREADS = 4;

/** A schema takes 40 to 130 ms with 151,936 tokens. */
const COMPILE_MS = 10_000;

interface Job {
  readonly constraint: ThreadConstraint;
  /** Tokens that the constraint's grammar has followed when this is done. */
  readonly length: number;
  readonly isCompiling: boolean;
  readonly limitMs: number;
  readonly resolve: (done: { readonly ms: number }) => void;
  readonly reject: (error: Error) => void;
}

/** One thread, what it has been asked for, in order, and who relies on it. */
interface Link {
  readonly thread: GrammarThread;
  readonly jobs: Job[];
  readonly constraints: Set<ThreadConstraint>;
  /** Structures that it has compiled. */
  readonly known: Set<string>;
  timer?: ReturnType<typeof setTimeout>;
}

/**
 * Grammars in threads of their own. What has to be compiled goes where nobody waits for masks, while there are such threads; a
 * thread that takes too long for one is ended, and the others on it go on in another.
 */
export class GrammarThreads implements ConstraintHost {
  readonly #start: () => GrammarThread;
  readonly #vocabulary: GrammarVocabulary;
  readonly #compileMs: number;
  readonly #links = new Map<ThreadConstraint, Link>();
  #threads: Link[] = [];
  #nextId = 1;

  constructor(start: () => GrammarThread, vocabulary: GrammarVocabulary, compileMs = COMPILE_MS) {
    this.#start = start;
    this.#vocabulary = vocabulary;
    this.#compileMs = compileMs;
  }

  /** @throws InvalidRequestError where the structure makes no grammar, or takes too long */
  async constrain(structure: Structure, field: string): Promise<ThreadConstraint> {
    const vocabularySize = this.#vocabulary.pieces.length;
    const constraint = new ThreadConstraint(this, { id: this.#nextId++, structure, field, vocabularySize });
    try {
      await this.#open(constraint);
      return constraint;
    } catch (error) {
      this.close(constraint);
      throw error;
    }
  }

  isIdle(constraint: ThreadConstraint): boolean {
    // What has answered may not have been told yet.
    return this.#links.get(constraint)!.jobs.every(({ constraint: asked, length }) => asked.has(length));
  }

  follow(constraint: ThreadConstraint, tokens: readonly number[], limitMs: number): Promise<{ readonly ms: number }> {
    const link = this.#links.get(constraint)!;
    link.thread.postMessage({ kind: "accept", id: constraint.id, tokens });
    return this.#await(link, { constraint, length: constraint.tokens.length, isCompiling: false, limitMs });
  }

  close(constraint: ThreadConstraint): void {
    const link = this.#links.get(constraint);
    this.#links.delete(constraint);
    if (!link?.constraints.delete(constraint)) return;
    link.thread.postMessage({ kind: "close", id: constraint.id });
  }

  dispose(): void {
    for (const link of this.#threads) this.#end(link);
  }

  #open(constraint: ThreadConstraint): Promise<{ readonly ms: number }> {
    const { id, structure, shared, tokens } = constraint;
    const key = JSON.stringify(structure);
    const link = this.#choose(key);
    link.known.add(key);
    link.constraints.add(constraint);
    this.#links.set(constraint, link);
    link.thread.postMessage({ kind: "open", id, structure, tokens, shared });
    return this.#await(link, { constraint, length: tokens.length, isCompiling: true, limitMs: this.#compileMs });
  }

  #choose(key: string): Link {
    const links = this.#threads;
    const knowing = links.find(({ known, jobs }) => known.has(key) && !jobs.some(({ isCompiling }) => isCompiling));
    const free = knowing ?? links.find(({ constraints }) => constraints.size === 0);
    if (free) return free;
    if (links.length < MAX_THREADS) return this.#begin();
    return links.reduce((least, link) => (link.constraints.size < least.constraints.size ? link : least));
  }

  #begin(): Link {
    const link: Link = { thread: this.#start(), jobs: [], constraints: new Set(), known: new Set() };
    link.thread.addEventListener("message", ({ data }) => this.#answered(link, data));
    link.thread.postMessage({ kind: "vocabulary", vocabulary: this.#vocabulary });
    this.#threads.push(link);
    return link;
  }

  #await(link: Link, asked: Omit<Job, "resolve" | "reject">): Promise<{ readonly ms: number }> {
    return new Promise((resolve, reject) => {
      link.jobs.push({ ...asked, resolve, reject });
      if (link.jobs.length === 1) this.#watch(link);
    });
  }

  /** Gives the first job its time. It also keeps the process alive until there is an answer. */
  #watch(link: Link): void {
    clearTimeout(link.timer);
    const [job] = link.jobs;
    link.timer = job && setTimeout(() => this.#giveUp(link), job.limitMs);
  }

  #answered(link: Link, message: FromGrammars): void {
    const job = link.jobs.shift();
    this.#watch(link);
    if (!job) return;
    if (message.kind === "done") job.resolve(message);
    else {
      const { field } = job.constraint;
      job.reject(new InvalidRequestError(field, `the grammar engine refuses it: ${message.message}`));
    }
  }

  /** Ends a thread for what it is at, and lets the others go on in another. */
  #giveUp(link: Link): void {
    const [first] = link.jobs;
    // It has answered, and this thread was too busy to hear.
    if (first.constraint.has(first.length)) return;
    const [slow, ...others] = link.jobs.splice(0);
    link.constraints.delete(slow.constraint);
    const left = [...link.constraints];
    this.#end(link);
    slow.reject(slow.constraint.tooSlow());
    for (const constraint of left) {
      const waiting = others.filter((job) => job.constraint === constraint);
      const opened = this.#open(constraint);
      opened.catch(() => {});
      for (const { resolve, reject } of waiting) opened.then(resolve, reject);
    }
    for (const { constraint, reject } of others) {
      if (!left.includes(constraint)) reject(new LLMError("The reply was left."));
    }
  }

  #end(link: Link): void {
    clearTimeout(link.timer);
    link.thread.terminate();
    this.#threads = this.#threads.filter((other) => other !== link);
    for (const { reject } of link.jobs.splice(0)) reject(new LLMError("The model was disposed of."));
  }
}
