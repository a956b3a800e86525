import { afterEach, describe, expect, it, vi } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { parseHubId } from "../../src/weights/hub-id.ts";
import { type HubOptions, hubSource } from "../../src/weights/hub-source.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { COMMIT, type HubServer, startHub } from "../support/hub-server.ts";
import { type ModelFiles, modelFiles } from "../support/model-files.ts";

const hubs: HubServer[] = [];
afterEach(async () => {
  for (const hub of hubs.splice(0)) await hub.close();
});

async function start(files: ModelFiles, options?: { token?: string }): Promise<HubServer> {
  const hub = await startHub(files, options);
  hubs.push(hub);
  return hub;
}

const quick = { firstDelayMs: 1, attempts: 3, stallMs: 2_000 };
const open = (hub: HubServer, options: HubOptions = {}, id = "hf:owner/model") =>
  hubSource(parseHubId(id)!, { ...quick, endpoint: hub.url, ...options });
/** Comparing millions of bytes one by one takes vitest seconds. */
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
const large = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 31) >> 3);

describe("parseHubId", () => {
  const repo = "Qwen/Qwen3-Next-80B-A3B";
  it.each([
    [`hf:${repo}`, { repo, folder: "" }],
    [`hf://${repo}`, { repo, folder: "" }],
    [`hf:${repo}@refs/pr/1`, { repo, folder: "", revision: "refs/pr/1" }],
    [
      `hf:${repo}@v1:q4/model-00001-of-00002.gguf`,
      { repo, folder: "q4/", revision: "v1", file: "model-00001-of-00002.gguf" },
    ],
    [`hf:${repo}:q4/`, { repo, folder: "q4/" }],
    [`https://huggingface.co/${repo}/`, { repo, folder: "" }],
    [`https://huggingface.co/${repo}/tree/main/q4`, { repo, folder: "q4/", revision: "main" }],
    [
      `https://huggingface.co/${repo}/resolve/main/q4/a.gguf?download=true`,
      { repo, folder: "q4/", revision: "main", file: "a.gguf" },
    ],
  ])("%s", (text, id) => {
    expect(parseHubId(text)).toEqual(id);
  });

  it.each(["models/sprout", "hf:model", "https://example.com/a/b", "hf:a/b/c", "hf:../b?x"])("not %s", (text) => {
    expect(parseHubId(text)).toBeUndefined();
  });
});

describe("hubSource", () => {
  it("opens a model: one listing, all from its commit, the token for the Hub alone", async () => {
    const hub = await start(modelFiles(), { token: "hf_secret" });
    const source = open(hub, { token: async () => "hf_secret" });
    expect(hub.log).toHaveLength(0);
    const checkpoint = await openCheckpoint(source);
    hub.commit = "b".repeat(40);
    expect(checkpoint.label).toBe("hf:owner/model");
    expect((await checkpoint.tensors.get("matrix")!.read(0, 1)).rows).toBe(1);
    expect(hub.log.filter(({ path }) => path.startsWith("/api/"))).toHaveLength(1);
    const paths = hub.log.filter(({ to, path }) => to === "hub" && !path.startsWith("/api/")).map(({ path }) => path);
    expect(paths.every((path) => path.startsWith(`/owner/model/resolve/${COMMIT}/`))).toBe(true);
    for (const { to, token } of hub.log) expect(token).toBe(to === "hub" ? "Bearer hf_secret" : undefined);
    expect(hub.log.filter(({ to }) => to === "store")).not.toHaveLength(0);
  });

  it("tells names, sizes and what changes with the content, of a folder where one is named", async () => {
    const hub = await start({ "config.json": "{}", "q4/a b.gguf": large });
    const source = open(hub, {}, "hf:owner/model:q4/a b.gguf");
    expect(source.file).toBe("a b.gguf");
    expect(source.label).toBe("hf:owner/model:q4");
    expect(await source.list!()).toEqual(["a b.gguf"]);
    expect(await source.size("a b.gguf")).toBe(3_000_000);
    expect(await source.version!("a b.gguf")).toBe("hash of q4/a b.gguf");
    expect(await source.size("config.json")).toBeUndefined();
    expect([...(await source.read("a b.gguf", { from: 5, to: 7 }))]).toEqual([...large.slice(5, 7)]);
    await expect(source.read("gone")).rejects.toThrow(/gone: there is no such file in the repository/);
    expect((await open(hub).list!()).length).toBe(2);
  });

  it("follows a redirect once, and again when the link has ended", async () => {
    const hub = await start({ "model.safetensors": large });
    const source = open(hub);
    const read = async (from: number) => {
      const bytes = await source.read("model.safetensors", { from, to: from + 600_000 });
      expect(same(bytes, large.subarray(from, from + 600_000))).toBe(true);
    };
    await read(0);
    await read(1_000_000);
    const resolved = () => hub.log.filter(({ path }) => path.includes("/resolve/")).length;
    expect(resolved()).toBe(1);
    hub.intervene = (request, response, to) => {
      if (to === "hub") hub.intervene = undefined;
      else response.writeHead(403).end();
      return to === "store" && request.url !== undefined;
    };
    await read(2_000_000);
    expect(resolved()).toBe(2);
  });

  it("takes a range up where it broke, as often as bytes arrive, and waits where it is told to", async () => {
    const hub = await start({ "model.safetensors": large });
    let faults = 0;
    hub.intervene = (request, response, to) => {
      const [, from, last] = request.headers.range?.match(/(\d+)-(\d+)/) ?? [];
      if (to === "hub" || faults++ >= 6) return false;
      if (faults === 1) return response.writeHead(429, { "retry-after": "0.01" }).end() !== undefined;
      const body = Buffer.from(large.subarray(Number(from), Number(last) + 1));
      response.writeHead(206, {
        "content-range": `bytes ${from}-${last}/${large.length}`,
        "content-length": body.length,
      });
      response.write(body.subarray(0, 100_000), () => response.socket!.destroy());
      return true;
    };
    const bytes = await open(hub).read("model.safetensors", { from: 10, to: 1_500_000 });
    expect(same(bytes, large.subarray(10, 1_500_000))).toBe(true);
    const starts = hub.log.filter(({ to }) => to === "store").map(({ range }) => Number(range!.match(/(\d+)-/)![1]));
    expect(starts).toHaveLength(7);
    expect(starts[2]).toBeGreaterThan(10);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
  });

  it.each<[string, number, string | undefined, RegExp]>([
    ["a model that is not there, or private", 401, "RepoNotFound", /no such model, or no access.*HF_TOKEN.*hubToken/],
    ["a gated model", 403, "GatedRepo", /gated\. Accept its conditions at http.*\/owner\/model, and give a token/],
    ["a model without such a revision", 404, "RevisionNotFound", /no revision nightly/],
    ["another refusal", 400, undefined, /the server answered 400/],
  ])("says what to do about %s, once, without the token", async (_, status, code, message) => {
    const hub = await start(modelFiles());
    hub.intervene = (_request, response) => {
      response.writeHead(status, code === undefined ? {} : { "x-error-code": code }).end("{}");
      return true;
    };
    const error = await openCheckpoint(open(hub, { token: "hf_secret" }, "hf:owner/model@nightly")).catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toContain("hf_secret");
    expect(hub.log).toHaveLength(1);
  });

  it("says so where something else answers", async () => {
    const hub = await start({});
    hub.commit = "../../evil";
    await expect(open(hub).list!()).rejects.toThrow(/does not answer as a Hub does. Check HF_ENDPOINT/);
    expect(() => open(hub, { endpoint: "nowhere" })).toThrow(/nowhere: this is not the URL of a Hub/);
  });

  it("an aborted caller does not spoil the listing for others", async () => {
    const hub = await start(modelFiles());
    const source = open(hub);
    const controller = new AbortController();
    hub.intervene = () => {
      hub.intervene = undefined;
      controller.abort(new Error("enough"));
      return true;
    };
    const first = source.size("config.json", controller.signal);
    const second = source.size("config.json");
    await expect(first).rejects.toThrow("enough");
    expect(await second).toBeGreaterThan(0);
  });

  it("is what Node opens for a name, with HF_ENDPOINT and HF_TOKEN", async () => {
    const hub = await start(modelFiles(), { token: "hf_secret" });
    vi.stubEnv("HF_ENDPOINT", hub.url);
    vi.stubEnv("HF_TOKEN", "hf_secret");
    const source = await nodePlatform.openFiles("hf:owner/model", { store: "none" });
    expect(await source.size("config.json")).toBeGreaterThan(0);
    const other = await nodePlatform.openFiles("hf:owner/model", { store: "none", hubToken: "hf_other" });
    await expect(other.size("config.json")).rejects.toThrow(/no access to it \(401\)/);
    vi.unstubAllEnvs();
  });
});
