import { PerformanceObserver } from "node:perf_hooks";
import { test } from "vitest";
import { stayAwake } from "../../src/platform/node/rest.ts";
import { Readback } from "../../src/runner/readback.ts";
import { testDevice } from "../support/gpu.ts";

/** Each about as long as a step of a stage, with as long between them. */
const STEPS = 3000;
const STEP_MS = 1.1;

/**
 * Prints what it takes to hear of results in a process that stays awake, as those of stages do: the times from submitting
 * to reading, and what the collector of garbage did meanwhile.
 */
test("pauses of a process that waits for its GPU, awake", async () => {
  const { device } = await testDevice();
  const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const readback = new Readback(device, 16);
  const module = device.createShaderModule({ code: SHADER });
  const step = (rounds: number) => {
    const pipeline = device.createComputePipeline({
      layout: "auto",
      compute: { module, constants: { ROUNDS: rounds } },
    });
    const entries = [{ binding: 0, resource: { buffer } }];
    const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    return async () => {
      stayAwake(30);
      const start = performance.now();
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(1);
      pass.end();
      const staging = readback.copy(encoder, buffer);
      device.queue.submit([encoder.finish()]);
      await readback.read(staging, () => {});
      return performance.now() - start;
    };
  };
  const typical = async (run: () => Promise<number>, count: number) => {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      times.push(await run());
      await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    }
    return times.sort((a, b) => a - b);
  };
  let rounds = 100_000;
  for (let i = 0; i < 3; i++) rounds = Math.round((rounds * STEP_MS) / (await typical(step(rounds), 50))[5]);

  const collections = new Map<unknown, number[]>();
  const observer = new PerformanceObserver((list) => {
    for (const { detail, duration } of list.getEntries() as (PerformanceEntry & { detail: unknown })[]) {
      const { kind } = detail as { kind: number };
      collections.set(kind, [...(collections.get(kind) ?? []), duration]);
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const times = await typical(step(rounds), STEPS);
  observer.disconnect();
  const at = (part: number) => times[Math.floor(part * (times.length - 1))].toFixed(2);
  const mean = times.reduce((a, b) => a + b) / times.length;
  console.log(`median ${at(0.5)} ms, mean ${mean.toFixed(2)}, p99 ${at(0.99)}`);
  for (const [kind, name] of Object.entries({ 1: "scavenges", 4: "mark-compacts", 8: "marking" })) {
    const all = collections.get(Number(kind)) ?? [];
    const ms = all.reduce((a, b) => a + b, 0);
    const per = (value: number) => ((value / STEPS) * 1000).toFixed(1);
    console.log(
      `in 1,000 steps ${per(all.length)} ${name}, ${per(ms)} ms; longest ${Math.max(0, ...all).toFixed(1)} ms`,
    );
  }
  readback.dispose();
  buffer.destroy();
});

const SHADER = /* wgsl */ `
override ROUNDS: u32;
@group(0) @binding(0) var<storage, read_write> x: array<u32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var s = id.x;
  for (var i = 0u; i < ROUNDS; i++) { s = s * 1664525u + x[i & 3u]; }
  x[id.x & 3u] = s;
}
`;
