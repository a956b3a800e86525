import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import { httpSource } from "../../src/weights/http-source.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { type ModelFiles, modelFiles } from "../support/model-files.ts";

type Answer = (request: IncomingMessage, response: ServerResponse, nth: number) => void;

const quick = { firstDelayMs: 1, attempts: 3, stallMs: 2_000 };
const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** A server with `answer`, which is told how many requests came before. Gives its address and the requests' log. */
async function serve(answer: Answer): Promise<{ url: string; log: string[] }> {
  const log: string[] = [];
  const server = createServer((request, response) => {
    log.push(`${request.method} ${request.url} ${request.headers.range ?? "all"}`);
    answer(request, response, log.length - 1);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, log };
}

/** A static file server that knows ranges. */
function ranges(files: ModelFiles): Answer {
  return (request, response) => {
    const name = decodeURIComponent(new URL(request.url!, "http://h").pathname.split("/").at(-1)!);
    if (!(name in files)) return void response.writeHead(404).end();
    const body = Buffer.from(files[name] as Uint8Array);
    const match = request.headers.range?.match(/^bytes=(\d+)-(\d+)$/);
    if (!match) return void response.writeHead(200, { "content-length": body.length }).end(body);
    const [from, to] = [Number(match[1]), Math.min(Number(match[2]) + 1, body.length)];
    if (from >= body.length) return void response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
    response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${body.length}`, "content-length": to - from });
    response.end(body.subarray(from, to));
  };
}

const whole: Answer = (_, response) => response.writeHead(200, { "content-length": 5 }).end("01234");
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const middle = { from: 1, to: 4 };

describe("httpSource", () => {
  it("opens a model by ranges; small reads share a request", async () => {
    const { url, log } = await serve(ranges(modelFiles()));
    const checkpoint = await openCheckpoint(httpSource(`${url}/models/tiny/`, quick));
    expect(checkpoint.label).toBe(`${url}/models/tiny`);
    const { format, rows, columns, data } = await checkpoint.tensors.get("matrix")!.read(1, 3);
    expect([...decodeRows({ format, rows, columns, data })]).toEqual([3, 4, 5, 6]);
    const weights = log.filter((line) => line.includes("model.safetensors"));
    expect(weights).toHaveLength(2); // the size, and one block for header and tensors
    expect(log).not.toContain("GET /models/tiny/model.safetensors all");
    await checkpoint.close();
  });

  it("keeps the query string for every file and hides it from messages", async () => {
    const { url, log } = await serve(ranges({ "a b": "01234" }));
    const source = httpSource(`${url}/m?key=secret`, quick);
    expect(text(await source.read("a b", middle))).toBe("123");
    expect(log.every((line) => line.startsWith("GET /m/a%20b?key=secret "))).toBe(true);
    expect(source.label).not.toContain("secret");
  });

  it("knows empty files, missing files, and pages that stand for missing files", async () => {
    const { url } = await serve((request, response, nth) => {
      if (!request.url!.endsWith("/page")) return ranges({ empty: "" })(request, response, nth);
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<!doctype html>");
    });
    const source = httpSource(url, quick);
    expect(await source.size("empty")).toBe(0);
    expect(await source.read("empty")).toHaveLength(0);
    expect(await source.size("gone")).toBeUndefined();
    expect(await source.size("page")).toBeUndefined();
    await expect(source.read("gone")).rejects.toThrow(/\/gone: there is no such file on the server/);
  });

  it("takes a small file whole, once, where the server ignores ranges", async () => {
    const { url, log } = await serve(whole);
    const source = httpSource(url, quick);
    expect(await source.size("data")).toBe(5);
    expect(text(await source.read("data", middle))).toBe("123");
    expect(text(await source.read("data", { from: 0, to: 2 }))).toBe("01");
    expect(log).toHaveLength(1);
    await expect(source.read("data", { from: 3, to: 6 })).rejects.toThrow(/ends at byte 5; bytes up to 6/);
  });

  it("says so where the server ignores ranges and the file is large", async () => {
    const { url } = await serve((_, response) => {
      response.writeHead(200, { "content-length": 2 ** 31 });
      response.write(new Uint8Array(1000));
    });
    const source = httpSource(url, quick);
    expect(await source.size("data")).toBe(2 ** 31);
    await expect(source.read("data", middle)).rejects.toThrow(/ignores Range requests/);
  });

  it("asks by HEAD where a range tells no total", async () => {
    const { url, log } = await serve((request, response) => {
      if (request.method === "HEAD") return void response.writeHead(200, { "content-length": 5 }).end();
      response.writeHead(206, { "content-length": 2 }).end("01");
    });
    expect(await httpSource(url, quick).size("data")).toBe(5);
    expect(log.map((line) => line.split(" ")[0])).toEqual(["GET", "HEAD"]);
  });

  const serving = ranges({ data: "01234" });
  it.each<[string, Answer]>([
    ["500", (_, response) => response.writeHead(500).end()],
    ["429 with a time to wait", (_, response) => response.writeHead(429, { "retry-after": "0.01" }).end()],
    ["a connection cut before the answer", (request) => request.socket.destroy()],
    [
      "a connection cut in mid-body",
      (_, response) => {
        response.writeHead(206, { "content-range": "bytes 0-4/5", "content-length": 5 });
        response.write("0", () => response.socket!.destroy());
      },
    ],
    [
      "a short body that looks complete",
      (_, response) => {
        response.writeHead(206, { "content-range": "bytes 0-4/5" }).end("0");
      },
    ],
  ])("tries again after %s", async (_, fault) => {
    const { url, log } = await serve((request, response, nth) => {
      // The first request asks for the size, the next two go wrong.
      if (nth === 1 || nth === 2) return fault(request, response, nth);
      serving(request, response, nth);
    });
    expect(text(await httpSource(url, quick).read("data", middle))).toBe("123");
    expect(log).toHaveLength(4);
  });

  it.each<[string, Answer, RegExp]>([
    ["a server that stays broken", (_, response) => response.writeHead(503).end(), /answered 503 \(3 attempts\)/],
    ["a dead connection", (request) => request.socket.destroy(), /\(3 attempts\)\. Check the connection/],
    ["no access", (_, response) => response.writeHead(403).end(), /refuses access \(403\)/],
    ["another refusal", (_, response) => response.writeHead(400).end(), /the server answered 400/],
  ])("gives up on %s with a CheckpointError", async (_, answer, message) => {
    const { url, log } = await serve(answer);
    const error = await httpSource(url, quick)
      .read("data", middle)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect(log.length).toBeLessThanOrEqual(3);
  });

  it("asks only for what is missing of a range that broke", async () => {
    const body = Buffer.from(Uint8Array.from({ length: 1000 }, (_, i) => i));
    const { url, log } = await serve((request, response, nth) => {
      if (nth !== 1) return ranges({ data: body })(request, response, nth);
      response.writeHead(206, { "content-range": "bytes 0-999/1000", "content-length": 1000 });
      response.write(body.subarray(0, 300), () => response.socket!.destroy());
    });
    expect([...(await httpSource(url, quick).read("data", { from: 0, to: 1000 }))]).toEqual([...body]);
    expect(log.map((line) => line.split(" ")[2])).toEqual(["bytes=0-1", "bytes=0-999", "bytes=300-999"]);
  });

  it("tells a file's version, and mixes no two of them, within a range or between ranges", async () => {
    let etag = '"one"';
    const tagged: Answer = (request, response, nth) => {
      response.setHeader("etag", etag);
      ranges({ data: "01234".repeat(1_000_000) })(request, response, nth);
    };
    const part = { from: 0, to: 1_000_000 };
    const between = httpSource((await serve(tagged)).url, quick);
    expect(await between.version!("data")).toBe('"one"');
    await between.read("data", part);
    etag = '"two"';
    await expect(between.read("data", part)).rejects.toThrow(/changed on the server while it was read/);

    const { url } = await serve((request, response, nth) => {
      if (nth !== 1) return tagged(request, response, nth);
      response.writeHead(206, {
        etag: '"two"',
        "content-range": "bytes 0-999999/5000000",
        "content-length": 1_000_000,
      });
      response.write("01234", () => response.socket!.destroy());
      etag = 'W/"three"';
    });
    const within = httpSource(url, quick);
    await expect(within.read("data", part)).rejects.toThrow(/changed on the server while it was/);
  });

  it("does not take another range for the one it asked for", async () => {
    const { url } = await serve((request, response, nth) => {
      if (request.headers.range === "bytes=0-0") return serving(request, response, nth);
      response.writeHead(206, { "content-range": "bytes 0-2/3", "content-length": 3 }).end("012");
    });
    await expect(httpSource(url, quick).read("data", middle)).rejects.toThrow(/the server has \[0, 3\) of 3/);
  });

  it("counts a stalled connection as failed", async () => {
    const { url, log } = await serve((request, response, nth) => {
      if (nth > 0) return serving(request, response, nth);
      response.writeHead(200, { "content-length": 5 }).write("0");
    });
    // On a busy machine an answer that is sound may come too late as well.
    expect(text(await httpSource(url, { ...quick, attempts: 100, stallMs: 50 }).read("data"))).toBe("01234");
    expect(log.length).toBeGreaterThan(1);
  });

  it("stops on abort, in the body and while waiting for the next attempt", async () => {
    const reason = new Error("enough");
    for (const answer of [
      (_: IncomingMessage, response: ServerResponse) =>
        void response.writeHead(200, { "content-length": 5 }).write("0"),
      (_: IncomingMessage, response: ServerResponse) => void response.writeHead(500).end(),
    ]) {
      const controller = new AbortController();
      const { url } = await serve((request, response) => {
        answer(request, response);
        setTimeout(() => controller.abort(reason), 20);
      });
      const source = httpSource(url, { ...quick, firstDelayMs: 60_000 });
      await expect(source.read("data", undefined, controller.signal)).rejects.toBe(reason);
    }
  });

  it("takes the address of a .gguf for its folder and a file of it", async () => {
    const { url } = await serve(ranges({ "a b.gguf": "01234" }));
    const source = httpSource(`${url}/models/a%20b.gguf?key=secret`, quick);
    expect(source).toMatchObject({ label: `${url}/models`, file: "a b.gguf" });
    expect(text(await source.read("a b.gguf", middle))).toBe("123");
  });

  it("needs an absolute URL", () => {
    expect(() => httpSource("models/tiny")).toThrow(/models\/tiny: this is not an absolute URL/);
  });
});
