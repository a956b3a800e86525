import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { GrammarHost, type GrammarVocabulary } from "../../src/constraints/grammar-host.ts";
import type { GrammarThread } from "../../src/constraints/grammar-messages.ts";
import { GrammarThreads } from "../../src/constraints/grammar-threads.ts";
import { formatStructure } from "../../src/constraints/output-format.ts";
import { InvalidRequestError } from "../../src/errors.ts";
import { buildCli } from "../support/cli.ts";
import { builtGrammarThread, hostileSchema } from "../support/grammar-thread.ts";

const vocabulary: GrammarVocabulary = {
  pieces: [...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)), "true", "null", "<end>"],
  stopIds: [97],
};
const idsOf = (text: string) => Array.from(text, (char) => char.charCodeAt(0) - 32);
const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };
const easy = formatStructure({ kind: "schema", schema });
const hostile = formatStructure({ kind: "schema", schema: hostileSchema });
const ambiguous = formatStructure({ kind: "regex", pattern: "((a|b|c|d)*(a|b)*)*x" });

let threads: GrammarThreads;
const alive = new Set<GrammarThread>();
function start(): GrammarThread {
  const thread = builtGrammarThread();
  const { terminate } = thread;
  alive.add(thread);
  return Object.assign(thread, {
    terminate: () => {
      alive.delete(thread);
      terminate();
    },
  });
}

beforeAll(buildCli);
afterEach(() => {
  threads.dispose();
  expect(alive.size).toBe(0);
  vi.useRealTimers();
});

it("gives the masks that this thread would, whether they are waited for or not", async () => {
  threads = new GrammarThreads(start, vocabulary);
  const here = await new GrammarHost(vocabulary).matcher(easy);
  const there = await threads.constrain(easy, "format");
  const reply: number[] = [];
  for (const [i, id] of [...idsOf('{"a": 17}'), 97].entries()) {
    const prepared = there.prepare(reply);
    if (i % 2 === 0) await prepared;
    expect(there.mask(reply)).toEqual(new Uint32Array(here.getNextTokenBitmask().buffer.slice(0)).slice(0, 4));
    here.acceptToken(id);
    reply.push(id);
  }
  there.dispose();
});

it("tells what makes no grammar, and goes on", async () => {
  threads = new GrammarThreads(start, vocabulary);
  const open = formatStructure({ kind: "regex", pattern: "(red" });
  await expect(threads.constrain(open, "here")).rejects.toThrow(/here: the grammar engine refuses it.*parenthesis/);
  expect((await threads.constrain(easy, "format")).mask([])).toHaveLength(4);
});

it("follows others while one is being compiled that takes too long, and ends that", async () => {
  // It takes too long when that is said.
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  threads = new GrammarThreads(start, vocabulary, 4000);
  const other = await threads.constrain(easy, "format");
  let isCompiling = true;
  const refused = threads.constrain(hostile, "schema").finally(() => {
    isCompiling = false;
  });
  refused.catch(() => {});
  const reply: number[] = [];
  for (const id of idsOf('{"a": 1234567}')) {
    await other.prepare(reply);
    other.mask(reply);
    reply.push(id);
  }
  expect(isCompiling).toBe(true);
  const another = await threads.constrain(formatStructure({ kind: "json" }), "format");
  expect(another.mask([])).toHaveLength(4);
  expect(isCompiling).toBe(true);
  vi.advanceTimersByTime(4000);
  await expect(refused).rejects.toThrow(InvalidRequestError);
  await expect(refused).rejects.toThrow(/schema: it takes too long/);
});

it("lets those go on elsewhere that were in a thread which had to be ended", async () => {
  threads = new GrammarThreads(start, vocabulary, 4000);
  // Every thread has someone who waits for masks.
  const kinds = ["a", "b", "c", "d"].map((letter) => formatStructure({ kind: "regex", pattern: `${letter}{30}` }));
  const others = await Promise.all(kinds.map((structure) => threads.constrain(structure, "format")));
  expect(alive.size).toBe(4);
  for (const [i, other] of others.entries()) {
    const reply = idsOf("abcd"[i].repeat(3));
    await other.prepare(reply);
    other.mask(reply);
  }
  const before = new Set(alive);
  const refused = threads.constrain(hostile, "schema");
  refused.catch(() => {});
  // One of them waits until it has another thread.
  const replies = others.map((_, i) => idsOf("abcd"[i].repeat(4)));
  await Promise.all(others.map((other, i) => other.prepare(replies[i])));
  await expect(refused).rejects.toThrow(/takes too long/);
  await Promise.all(others.map((other, i) => other.prepare(replies[i])));
  for (const [i, other] of others.entries()) {
    const [only] = idsOf("abcd"[i]);
    const mask = other.mask(replies[i]);
    expect((mask[only >>> 5] >>> (only & 31)) & 1).toBe(1);
    expect(mask.reduce((sum, word) => sum + word.toString(2).replaceAll("0", "").length, 0)).toBe(1);
  }
  expect([...alive].some((thread) => !before.has(thread))).toBe(true);
});

it("ends what is too ambiguous to follow", async () => {
  threads = new GrammarThreads(start, vocabulary);
  const constraint = await threads.constrain(ambiguous, "pattern");
  const follow = async () => {
    const reply: number[] = [];
    for (const id of idsOf("ab".repeat(400))) {
      await constraint.prepare(reply);
      constraint.mask(reply);
      reply.push(id);
    }
  };
  await expect(follow()).rejects.toThrow(/pattern: it is too ambiguous/);
});
