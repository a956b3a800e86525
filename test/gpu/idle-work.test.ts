import { expect, test } from "vitest";
import { IdleWork } from "../../src/gpu/idle-work.ts";
import { openTestGpu } from "../support/gpu.ts";

test("is submitted once it is compiled, and not before", async () => {
  const { adapter } = await openTestGpu();
  const device = await adapter.requestDevice();
  let submitted = 0;
  const { queue } = device;
  const submit = queue.submit.bind(queue);
  queue.submit = (buffers) => {
    submitted++;
    submit(buffers);
  };
  // Each access may give another wrapper.
  Object.defineProperty(device, "queue", { value: queue });
  const work = new IdleWork(device);
  work.submit();
  expect(submitted).toBe(0);
  await work.ready;
  work.submit();
  expect(submitted).toBe(1);
  await queue.onSubmittedWorkDone();
  device.destroy();
});
