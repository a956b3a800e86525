import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { RemoteLLM } from "../../src/api/remote-llm.ts";
import type { GenerationEvent, LoadOptions, LoadProgress } from "../../src/api/types.ts";
import {
  CheckpointError,
  ContextLengthError,
  InvalidRequestError,
  LLMError,
  UnsupportedDeviceError,
  WorkerError,
} from "../../src/errors.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { ChannelWorker } from "../support/channel-worker.ts";
import { testAdapterName } from "../support/gpu.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const FOLDER = fixtureFolder("qwen3-next-tiny");
const OPTIONS: LoadOptions = { device: { reference: true }, maxContext: 256 };
const GREEDY = { temperature: 0, maxTokens: 8 };
const PROMPT = [5, 17, 300, 4, 99];

async function open(options = OPTIONS): Promise<{ worker: ChannelWorker; llm: RemoteLLM }> {
  const worker = new ChannelWorker(nodePlatform);
  return { worker, llm: await RemoteLLM.load(worker, FOLDER, options) };
}

async function collect(events: AsyncIterable<GenerationEvent>): Promise<GenerationEvent[]> {
  const all: GenerationEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

/** The error a promise fails with. */
const failure = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.fail("nothing failed"),
    (error) => error,
  );

describe("a model at the other end of a port", () => {
  let local: LocalLLM;
  let llm: RemoteLLM;

  beforeAll(async () => {
    local = await LocalLLM.load(nodePlatform, FOLDER, OPTIONS);
    ({ llm } = await open());
  });
  afterAll(() => Promise.all([local.dispose(), llm.dispose()]));

  test("gives the same events and says the same of itself", async () => {
    expect(llm.info).toEqual(local.info);
    const withoutTimes = (events: GenerationEvent[]) =>
      events.map((event) => (event.kind === "finish" ? { ...event, usage: undefined } : event));
    const expected = withoutTimes(await collect(local.generate(PROMPT, { ...GREEDY, logprobs: 2 })));
    expect(withoutTimes(await collect(llm.generate(PROMPT, { ...GREEDY, logprobs: 2 })))).toEqual(expected);
    expect(expected.at(-1)).toMatchObject({ kind: "finish", reason: "length" });
  });

  test("runs replies in the order in which they were asked for", async () => {
    const prompts = [PROMPT, [7, 7, 7], [...PROMPT, 1]];
    const finished: number[] = [];
    const replies = prompts.map((prompt, i) =>
      llm
        .generate(prompt, GREEDY)
        .finish()
        .finally(() => finished.push(i)),
    );
    for (const [i, reply] of replies.entries()) {
      expect((await reply).tokenIds).toEqual((await local.generate(prompts[i], GREEDY).finish()).tokenIds);
    }
    expect(finished).toEqual([0, 1, 2]);
  });

  test("a signal ends a reply, whether it runs or waits", async () => {
    const [first, second] = [new AbortController(), new AbortController()];
    const running = llm.generate(PROMPT, { temperature: 0, maxTokens: 200, signal: first.signal });
    let waiting: Promise<{ reason: string; tokenIds: readonly number[] }> | undefined;
    let last: GenerationEvent | undefined;
    for await (const event of running) {
      waiting ??= llm.generate([1, 2], { signal: second.signal }).finish();
      if (event.kind === "text" && !second.signal.aborted) {
        second.abort();
        first.abort();
      }
      last = event;
    }
    expect(last).toMatchObject({ kind: "finish", reason: "abort" });
    expect(await waiting).toMatchObject({ reason: "abort", tokenIds: [] });
    const late = await llm.generate(PROMPT, { temperature: 0, signal: AbortSignal.abort() }).finish();
    expect(late.reason).toBe("abort");
  });

  test("leaving the loop lets the next request in", async () => {
    const reply = llm.generate(PROMPT, { temperature: 0, maxTokens: 200 });
    for await (const event of reply) if (event.kind === "text") break;
    expect(await failure(reply.finish())).toMatchObject({ name: "AbortError" });
    const next = await llm.generate(PROMPT, GREEDY).finish();
    expect(next.tokenIds).toEqual((await local.generate(PROMPT, GREEDY).finish()).tokenIds);
  });

  test("errors arrive as the class they left, with their facts", async () => {
    const long = await failure(llm.generate(Array.from({ length: 300 }, () => 1)).finish());
    expect(long).toBeInstanceOf(ContextLengthError);
    expect(long).toMatchObject({ name: "ContextLengthError", promptTokens: 300, maxContext: 256 });
    expect(long.message).toContain("300 tokens");
    expect(long.stack).toContain("engine.ts");

    for (const [work, field] of [
      [llm.generate([]).finish(), "prompt"],
      [llm.generate("text").finish(), "prompt"],
      [llm.generate(PROMPT, { topP: 2 }).finish(), "topP"],
      [llm.generate(PROMPT, { stop: "." }).finish(), "stop"],
      [llm.chat([]).finish(), "messages"],
      [llm.tokenize("text"), "text"],
      [llm.detokenize([1]), "text"],
    ] as const) {
      const error = await failure(work);
      expect(error, field).toBeInstanceOf(InvalidRequestError);
      expect(error).toMatchObject({ field });
    }
  });

  test("what cannot be posted fails at once and leaves nothing behind", async () => {
    const templateVariables = { today: () => "Monday" };
    expect(await failure(llm.chat([], { templateVariables }).finish())).toMatchObject({ name: "DataCloneError" });
    expect((await llm.generate(PROMPT, GREEDY).finish()).reason).toBe("length");
  });

  test("a reply is iterated once", async () => {
    const reply = llm.generate(PROMPT, GREEDY);
    await reply.text();
    await expect(collect(reply)).rejects.toBeInstanceOf(LLMError);
    expect((await reply.finish()).tokenIds).toHaveLength(8);
  });
});

describe("loading", () => {
  test("reports phases in order, and all bytes in the end", async () => {
    const seen: LoadProgress[] = [];
    const { llm } = await open({ ...OPTIONS, onProgress: (progress) => seen.push(progress) });
    const phases = seen.map(({ phase }) => phase);
    expect(phases.filter((phase, i) => phase !== phases[i - 1])).toEqual(["open", "weights", "ready"]);
    const bytes = seen.map(({ loadedBytes }) => loadedBytes);
    expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
    expect(seen.at(-1)!.totalBytes).toBeGreaterThan(1e6);
    expect(bytes.at(-1)).toBe(seen.at(-1)!.totalBytes);
    await llm.dispose();
  });

  test.each([
    ["a missing folder", "no/such/folder", {}, CheckpointError, { source: "no/such/folder" }],
    [
      "an unknown adapter",
      FOLDER,
      { device: { adapter: "no such GPU" } },
      UnsupportedDeviceError,
      { adapter: "no such GPU" },
    ],
    ["an option", FOLDER, { ...OPTIONS, maxContext: 1 }, InvalidRequestError, { field: "maxContext" }],
  ] as const)("fails for %s as it would here, and ends the worker", async (_, source, options, kind, facts) => {
    const worker = new ChannelWorker(nodePlatform);
    const error = await failure(RemoteLLM.load(worker, source, options));
    expect(error).toBeInstanceOf(kind);
    expect(error).toMatchObject(facts);
    expect(worker.isTerminated).toBe(true);
  });

  test.each(["before it begins", "midway"])("aborted %s, ends the worker at once", async (when) => {
    const worker = new ChannelWorker(nodePlatform);
    const controller = new AbortController();
    if (when === "before it begins") controller.abort();
    const onProgress = ({ phase }: LoadProgress) => phase === "weights" && controller.abort();
    const loading = RemoteLLM.load(worker, FOLDER, { ...OPTIONS, onProgress, signal: controller.signal });
    expect(await failure(loading)).toMatchObject({ name: "AbortError" });
    expect(worker.isTerminated).toBe(true);
  });
});

describe("the end", () => {
  test("of the worker fails what waits and what comes", async () => {
    const { worker, llm } = await open();
    const waiting = [llm.generate(PROMPT, GREEDY).finish(), llm.generate(PROMPT, GREEDY).text(), llm.tokenize("x")];
    worker.die("out of memory");
    for (const work of waiting) {
      const error = await failure(work);
      expect(error).toBeInstanceOf(WorkerError);
      expect(error.message).toContain("out of memory");
    }
    expect(await failure(llm.generate(PROMPT).finish())).toBeInstanceOf(WorkerError);
    expect(await failure(llm.detokenize([1]))).toBeInstanceOf(WorkerError);
    await llm.dispose();
  });

  test("of the worker in the midst of loading fails that", async () => {
    const worker = new ChannelWorker(nodePlatform);
    const onProgress = () => worker.die("");
    expect(await failure(RemoteLLM.load(worker, FOLDER, { ...OPTIONS, onProgress }))).toBeInstanceOf(WorkerError);
  });

  test("of the model fails a reply under way, one that waits, and what comes", async () => {
    const { worker, llm } = await open();
    const running = llm.generate(PROMPT, { maxTokens: 200 });
    let waiting: Promise<Error> | undefined;
    const error = await failure(
      (async () => {
        for await (const event of running) {
          if (event.kind !== "text" || waiting) continue;
          waiting = failure(llm.generate([1]).finish());
          void llm.dispose();
        }
      })(),
    );
    for (const failed of [error, await waiting!, await failure(llm.generate([1]).finish())]) {
      expect(failed).toBeInstanceOf(LLMError);
      expect(failed.message).toContain("disposed");
    }
    await llm.dispose();
    expect(worker.isTerminated).toBe(true);
  });
});

test("Sprout chats through a port as it does without", async () => {
  const sprout = "demo/public/models/sprout";
  const options = { device: { adapter: testAdapterName, dtype: "f32" }, maxContext: 512 } as const;
  const messages = [{ role: "user", content: "What is the capital of France?" }] as const;
  const worker = new ChannelWorker(nodePlatform);
  const llm = await RemoteLLM.load(worker, sprout, options);
  expect(await llm.chat(messages, { temperature: 0, maxTokens: 30 }).text()).toContain("Paris");
  const ids = await llm.tokenize("Hello, wörld! <|im_end|>");
  expect(await llm.detokenize(ids)).toBe("Hello, wörld! <|im_end|>");
  await llm.dispose();
}, 300_000);
