import { afterEach, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { LoadOptions, LoadProgress } from "../../src/api/types.ts";
import { DeviceLostError, LLMError } from "../../src/errors.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const FOLDER = fixtureFolder("qwen3-next-tiny");
const PROMPT = [5, 17, 300, 4, 99];
const GREEDY = { temperature: 0, maxTokens: 12 };

const opened: LocalLLM[] = [];
afterEach(async () => {
  for (const llm of opened.splice(0)) await llm.dispose();
});

async function open(options: LoadOptions = {}): Promise<{ platform: ObservedPlatform; llm: LocalLLM }> {
  const platform = new ObservedPlatform();
  const llm = await LocalLLM.load(platform, FOLDER, { device: { dtype: "f32" }, maxContext: 256, ...options });
  opened.push(llm);
  return { platform, llm };
}

const failure = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.fail("nothing failed"),
    (error) => error,
  );

/** Takes the device away behind its back, as a driver does. */
const lose = ({ devices }: ObservedPlatform) => GPUDevice.prototype.destroy.call(devices.at(-1)!);

const reply = (llm: LocalLLM) =>
  llm
    .generate(PROMPT, GREEDY)
    .finish()
    .then(({ tokenIds }) => tokenIds);

test.each(["prefill", "text"])("a reply fails at its %s, and the next request loads the model again", async (when) => {
  const phases: string[] = [];
  const onProgress = ({ phase }: LoadProgress) => phases.at(-1) !== phase && phases.push(phase);
  const { platform, llm } = await open({ onProgress });
  const expected = await reply(llm);
  phases.length = 0;

  const error = await failure(
    (async () => {
      let isLost = false;
      for await (const event of llm.generate([1, 2, 3], { temperature: 0, maxTokens: 100 })) {
        if (event.kind === when && !isLost) lose(platform);
        isLost ||= event.kind === when;
      }
    })(),
  );
  expect(error).toBeInstanceOf(DeviceLostError);
  expect(error.message).toContain("loaded again with the next request");
  expect(phases).toEqual([]);

  expect(await reply(llm)).toEqual(expected);
  expect(phases).toEqual(["open", "weights", "compile", "ready"]);
  expect(platform.devices).toHaveLength(2);
  expect(platform.openDevices).toBe(1);
  expect(platform.openSources).toBe(0);
});

test("a device that is lost while nobody asks is replaced without an error", async () => {
  const { platform, llm } = await open();
  const expected = await reply(llm);
  lose(platform);
  await platform.devices[0].lost;
  expect(await Promise.all([reply(llm), reply(llm)])).toEqual([expected, expected]);
  expect(platform.devices).toHaveLength(2);
});

test("requests that wait fail as well, and load nothing twice", async () => {
  const { platform, llm } = await open();
  const expected = await reply(llm);
  const running = llm.generate(PROMPT, { temperature: 0, maxTokens: 100 });
  let waiting: Promise<Error> | undefined;
  await failure(
    (async () => {
      for await (const event of running) {
        if (event.kind !== "text" || waiting) continue;
        waiting = failure(reply(llm));
        lose(platform);
      }
    })(),
  );
  const [next, waited] = await Promise.all([reply(llm), waiting]);
  expect(waited).toBeInstanceOf(DeviceLostError);
  expect(next).toEqual(expected);
  expect(await reply(llm)).toEqual(expected);
  expect(platform.devices).toHaveLength(2);
  expect(platform.openDevices).toBe(1);
});

test.each(["weights", "compile"] as const)("a device that is lost in the phase %s fails the loading", async (when) => {
  const platform = new ObservedPlatform();
  const onProgress = ({ phase }: LoadProgress) => {
    if (phase === when && platform.devices.length > 0) lose(platform);
  };
  const loading = LocalLLM.load(platform, FOLDER, { device: { dtype: "f32" }, maxContext: 256, onProgress });
  expect(await failure(loading)).toBeInstanceOf(DeviceLostError);
  expect(platform.openDevices).toBe(0);
  expect(platform.openSources).toBe(0);
});

test("loading again can fail, and be tried again", async () => {
  let isBroken = false;
  const onProgress = () => {
    if (isBroken) throw new Error("no network");
  };
  const { platform, llm } = await open({ onProgress });
  const expected = await reply(llm);
  lose(platform);
  await platform.devices[0].lost;
  isBroken = true;
  expect((await failure(reply(llm))).message).toBe("no network");
  isBroken = false;
  expect(await reply(llm)).toEqual(expected);
  expect(platform.openDevices).toBe(1);
});

test("disposing while the model is loaded again leaves no device", async () => {
  const { platform, llm } = await open();
  lose(platform);
  await platform.devices[0].lost;
  const request = failure(reply(llm));
  await llm.dispose();
  const error = await request;
  expect(error).toBeInstanceOf(LLMError);
  expect(error.message).toContain("disposed");
  expect(platform.openDevices).toBe(0);
  expect(platform.openSources).toBe(0);
});

test("disposing ends a reply under way, one that waits, and what comes", async () => {
  const { platform, llm } = await open();
  let waiting: Promise<Error> | undefined;
  const error = await failure(
    (async () => {
      for await (const event of llm.generate(PROMPT, { maxTokens: 200 })) {
        if (event.kind !== "text" || waiting) continue;
        waiting = failure(reply(llm));
        await llm.dispose();
      }
    })(),
  );
  for (const failed of [error, await waiting!, await failure(reply(llm))]) {
    expect(failed).toBeInstanceOf(LLMError);
    expect(failed).not.toBeInstanceOf(DeviceLostError);
    expect(failed.message).toContain("disposed");
  }
  expect(platform.openDevices).toBe(0);
});
