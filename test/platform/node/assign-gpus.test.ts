import { expect, test } from "vitest";
import { InvalidRequestError, UnsupportedDeviceError } from "../../../src/errors.ts";
import { assignGpus, type SystemView } from "../../../src/platform/node/assign-gpus.ts";
import type { SystemGpu } from "../../../src/platform/node/system-gpus.ts";

const h200 = (index: number): SystemGpu => ({
  index,
  name: "NVIDIA H200",
  busId: `0000:${index}9:00.0`,
  memoryBytes: 1e9,
  device: `/dev/nvidia${index}`,
});

const system = (view: Partial<SystemView>): SystemView => ({
  adapters: [],
  gpus: [],
  hide: async () => undefined,
  ...view,
});

const hide: SystemView["hide"] = async (devices) => ["hide", ...devices, "--"];

test("equal GPUs: the others are hidden from each process", async () => {
  const view = system({ adapters: ["NVIDIA H200"], gpus: [0, 1, 2].map(h200), hide });
  expect(await assignGpus({ wanted: [0, 2] }, view)).toEqual([
    {
      label: "GPU 0, NVIDIA H200, 0000:09:00.0",
      wrapper: ["hide", "/dev/nvidia1", "/dev/nvidia2", "--"],
      adapter: undefined,
      memoryBytes: 1e9,
    },
    {
      label: "GPU 2, NVIDIA H200, 0000:29:00.0",
      wrapper: ["hide", "/dev/nvidia0", "/dev/nvidia1", "--"],
      adapter: undefined,
      memoryBytes: 1e9,
    },
  ]);
  const error = await assignGpus({ wanted: [3] }, view).catch((error) => error);
  expect(error).toBeInstanceOf(InvalidRequestError);
  expect(error.message).toContain("no GPU 3. There is: 0, NVIDIA H200, 0000:09:00.0; 1,");
});

test("where nothing can be hidden, names have to tell them apart", async () => {
  const adapters = ["NVIDIA H200", "NVIDIA A10"];
  const error = await assignGpus({ wanted: [1] }, system({ adapters, gpus: [0, 1].map(h200) })).catch((error) => error);
  expect(error).toBeInstanceOf(UnsupportedDeviceError);
  expect(error.message).toMatch(/unshare -Urm.*container/);
  const different = [h200(0), { ...h200(1), name: "NVIDIA A10" }];
  const assigned = await assignGpus({ wanted: [0, 1] }, system({ adapters, gpus: different }));
  expect(assigned.map(({ adapter, wrapper }) => ({ adapter, wrapper }))).toEqual([
    { adapter: "NVIDIA H200", wrapper: undefined },
    { adapter: "NVIDIA A10", wrapper: undefined },
  ]);
});

test("the only GPU needs nothing", async () => {
  const [only] = await assignGpus({ wanted: [0] }, system({ adapters: ["NVIDIA H200"], gpus: [h200(0)] }));
  expect(only).toEqual({ label: "GPU 0, NVIDIA H200, 0000:09:00.0", adapter: undefined, memoryBytes: 1e9 });
});

test("other makers' are chosen by name, and not at all where names do not differ", async () => {
  const gpus = [0, 1].map((index): SystemGpu => ({ index, name: "AMD 73bf", busId: `0000:0${index}:00.0` }));
  const named = await assignGpus({ wanted: [1] }, system({ adapters: ["Radeon A", "Radeon B", "llvmpipe"], gpus }));
  expect(named).toEqual([{ label: "GPU 1, Radeon B", adapter: "Radeon B", memoryBytes: undefined }]);
  await expect(assignGpus({ wanted: [0, 1] }, system({ adapters: ["Radeon A"], gpus }))).rejects.toBeInstanceOf(
    UnsupportedDeviceError,
  );
});

test("a software adapter is shared, and so is the reference", async () => {
  const view = system({ adapters: ["llvmpipe (LLVM 19)"] });
  expect(await assignGpus({ wanted: [0, 1] }, view)).toEqual([
    { label: "worker 0, llvmpipe (LLVM 19)", adapter: undefined },
    { label: "worker 1, llvmpipe (LLVM 19)", adapter: undefined },
  ]);
  expect((await assignGpus({ wanted: [5], reference: true }, view))[0].label).toBe("worker 5, CPU reference");
  await expect(assignGpus({ wanted: [1, 1] }, view)).rejects.toBeInstanceOf(InvalidRequestError);
});
