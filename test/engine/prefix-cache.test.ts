import { describe, expect, it } from "vitest";
import { PrefixCache } from "../../src/engine/prefix-cache.ts";
import { random } from "../support/random.ts";

/** What the cache describes: a live state and copies of it, each the list of tokens that it has read, and the KV cache. */
interface Model {
  live: number[];
  kv: number[];
  readonly slots: Map<number, number[]>;
}

const isPrefix = (tokens: readonly number[], of: readonly number[]) => tokens.every((token, i) => token === of[i]);

describe.each([0, 1, 3])("PrefixCache with %i slots", (slots) => {
  it("names the longest state that holds a prefix of the prompt, whatever came before", () => {
    for (let seed = 0; seed < 40; seed++) {
      const next = random(seed);
      const cache = new PrefixCache(Array.from({ length: slots }, (_, i) => i + 1));
      const model: Model = { live: [], kv: [], slots: new Map() };
      const conversations: number[][] = [[]];
      for (let turn = 0; turn < 30; turn++) {
        const prompt = choosePrompt(next, conversations);
        const { length, snapshot } = cache.match(prompt);
        checkMatch(model, prompt, length, snapshot);

        model.live = length === 0 ? [] : [...(snapshot === undefined ? model.live : model.slots.get(snapshot)!)];
        model.kv.length = length;
        cache.cut(length);
        for (const [slot, tokens] of model.slots) if (tokens.length > length) model.slots.delete(slot);
        expect(cache.length).toBe(length);
        // The prompt may be read in part only, and a reply of any length follows it.
        const reply = Array.from({ length: Math.floor(next() * 5) }, () => Math.floor(next() * 3));
        const text = [...prompt, ...reply].slice(0, length + Math.floor(next() * (prompt.length + reply.length)));
        for (const token of text.slice(length)) {
          cache.append([token]);
          model.live.push(token);
          model.kv.push(token);
          if (next() < 0.2) {
            const slot = cache.snapshot();
            if (slot !== undefined) model.slots.set(slot, [...model.live]);
          }
        }
        if (next() < 0.1) {
          cache.clear();
          model.live = [-1];
          model.kv = [];
          model.slots.clear();
        }
        conversations.push(text);
      }
    }
  });
});

function checkMatch({ live, kv, slots }: Model, prompt: number[], length: number, snapshot: number | undefined): void {
  const before = prompt.slice(0, length);
  expect(length).toBeLessThan(prompt.length);
  expect(kv.slice(0, length)).toEqual(before);
  if (length > 0) expect(snapshot === undefined ? live : slots.get(snapshot)).toEqual(before);
  const usable = [live, ...slots.values()].filter(
    (state) => state.length < prompt.length && isPrefix(state, prompt) && isPrefix(state, kv),
  );
  expect(length).toBe(Math.max(0, ...usable.map((state) => state.length)));
}

/** The next turn of an earlier conversation, an edit of it, or a new one. */
function choosePrompt(next: () => number, conversations: readonly number[][]): number[] {
  const earlier = conversations[Math.floor(next() * conversations.length)];
  const kept = next() < 0.5 ? earlier.length : Math.floor(next() * earlier.length);
  const added = Array.from({ length: 1 + Math.floor(next() * 4) }, () => Math.floor(next() * 3));
  return [...earlier.slice(0, kept), ...added];
}

describe("PrefixCache", () => {
  it("gives the slot that was unused longest to a new snapshot", () => {
    const cache = new PrefixCache([1, 2]);
    cache.append([7]);
    const first = cache.snapshot();
    cache.append([8]);
    const second = cache.snapshot();
    cache.append([9, 9, 9]);
    expect(cache.match([7, 0])).toEqual({ length: 1, snapshot: first });
    expect(cache.match([7, 8, 0])).toEqual({ length: 2, snapshot: second });
    cache.append([9]);
    expect(cache.snapshot()).toBe(first);
    expect(cache.match([7, 0])).toEqual({ length: 0 });
    expect(cache.match([7, 8, 0])).toEqual({ length: 2, snapshot: second });
  });
});
