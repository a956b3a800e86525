import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type StaticServer, serveFolder } from "../../../src/platform/node/static-server.ts";

let root: string;
let server: StaticServer;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "sluice-serve-"));
  await mkdir(join(root, "page"));
  await writeFile(join(root, "secret.txt"), "secret");
  await writeFile(join(root, "page/index.html"), "<h1>page</h1>");
  await writeFile(join(root, "page/model.safetensors"), "0123456789");
  await writeFile(join(root, "page/code.wasm"), "");
  server = await serveFolder({ folder: join(root, "page"), host: "127.0.0.1", port: 0 });
});

afterAll(async () => {
  await server?.close();
  await rm(root, { recursive: true });
});

it("serves the page for the folder", async () => {
  const response = await fetch(server.url);
  expect(await response.text()).toBe("<h1>page</h1>");
  expect(response.headers.get("content-type")).toMatch("text/html");
});

it.each([
  ["model.safetensors", "application/octet-stream"],
  ["code.wasm", "application/wasm"],
])("names the type of %s", async (file, type) => {
  expect((await fetch(server.url + file)).headers.get("content-type")).toBe(type);
});

it("answers ranges", async () => {
  const response = await fetch(`${server.url}model.safetensors`, { headers: { range: "bytes=3-5" } });
  expect(response.status).toBe(206);
  expect(response.headers.get("content-range")).toBe("bytes 3-5/10");
  expect(await response.text()).toBe("345");
});

it.each(["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/none"])(
  "serves nothing for %s",
  async (path) => {
    // fetch would tidy the path up before it is sent.
    const status = await new Promise((resolve, reject) => {
      request(server.url, { path }, (response) => resolve(response.resume().statusCode))
        .on("error", reject)
        .end();
    });
    expect(status).toBe(404);
  },
);

it("takes the next free port", async () => {
  const port = Number(new URL(server.url).port);
  const second = await serveFolder({ folder: join(root, "page"), host: "127.0.0.1", port });
  expect(Number(new URL(second.url).port)).toBeGreaterThan(port);
  await second.close();
});

it("fails when the address is not of this machine", async () => {
  await expect(serveFolder({ folder: root, host: "192.0.2.1", port: 0 })).rejects.toThrow("EADDRNOTAVAIL");
});
