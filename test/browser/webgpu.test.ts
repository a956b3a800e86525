import type { Browser, Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { browserKinds, launchBrowser } from "../support/browser.ts";

/** Runs as it stands in a page and in a worker: squares 64 numbers on the GPU and returns the sum, 85344. */
async function sumOfSquares(): Promise<{ sum: number; adapter: string }> {
  const adapter = await navigator.gpu.requestAdapter();
  if (!adapter) throw new Error("navigator.gpu.requestAdapter() answers with nothing");
  const device = await adapter.requestDevice();
  const squares = device.createBuffer({ size: 256, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const readback = device.createBuffer({ size: 256, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const module = device.createShaderModule({
    code: `@group(0) @binding(0) var<storage, read_write> squares: array<u32>;
      @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) { squares[i] = i * i; }`,
  });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const layout = pipeline.getBindGroupLayout(0);
  pass.setBindGroup(0, device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: squares } }] }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(squares, 0, readback, 0, 256);
  device.queue.submit([encoder.finish()]);
  await readback.mapAsync(GPUMapMode.READ);
  const sum = new Uint32Array(readback.getMappedRange()).reduce((a, b) => a + b);
  device.destroy();
  return { sum, adapter: adapter.info.architecture };
}

const inWorker = `new Promise((resolve, reject) => {
  const source = "(" + ${JSON.stringify(String(sumOfSquares))} + ")().then(postMessage, (error) => postMessage(String(error)))";
  const worker = new Worker(URL.createObjectURL(new Blob([source])));
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(message));
})`;

it("has a browser to test with", () => {
  expect(browserKinds()).not.toEqual([]);
});

describe.each(browserKinds())("the %s browser", (kind) => {
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    browser = await launchBrowser(kind);
    page = await browser.newPage();
    // WebGPU is for secure contexts, and localhost is one.
    await page.route("http://localhost/", (route) =>
      route.fulfill({ contentType: "text/html", body: "<!doctype html>" }),
    );
    await page.goto("http://localhost/");
  });

  afterAll(() => browser?.close());

  it("runs a shader in a page", async () => {
    const result = await page.evaluate(sumOfSquares);
    console.info(`Chromium ${browser.version()} (${kind}): ${result.adapter}`);
    expect(result.sum).toBe(85344);
  });

  it("runs a shader in a worker", async () => {
    expect(await page.evaluate(inWorker)).toMatchObject({ sum: 85344 });
  });
});
