import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { UnsupportedDeviceError } from "../../../src/errors.ts";
import { describeAdapter } from "../../../src/gpu/describe-adapter.ts";
import { listAdapters, openGpu } from "../../../src/platform/node/gpu.ts";
import { unpackSparticuz } from "../../../src/platform/node/sparticuz.ts";

const hasSwiftShader = process.platform === "linux" && process.arch === "x64";

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("openGpu", () => {
  it("takes the best adapter of the machine, and describes it", async () => {
    const [best] = await listAdapters();
    const { gpu, adapter } = await openGpu();
    const { name, isSoftware, features, limits } = describeAdapter(adapter);
    expect(name).not.toBe("");
    expect(isSoftware).toBe(/llvmpipe|swiftshader/i.test(best ?? "swiftshader"));
    expect(features).toContain("core-features-and-limits");
    expect(limits.maxStorageBuffersPerShaderStage).toBeGreaterThanOrEqual(8);
    expect(GPUBufferUsage.STORAGE).toBe(0x80);
    const again = await gpu.requestAdapter();
    expect(again?.info.description).toBe(adapter.info.description);
  });

  it.skipIf(!hasSwiftShader)("falls back to SwiftShader where Vulkan finds no driver", async () => {
    vi.stubEnv("VK_DRIVER_FILES", "/nowhere.json");
    expect(await listAdapters()).toEqual([]);
    const { adapter } = await openGpu();
    expect(describeAdapter(adapter)).toMatchObject({ isSoftware: true, name: expect.stringMatching(/swiftshader/i) });
    expect(process.env.VK_DRIVER_FILES).toBe("/nowhere.json");
  });

  it.skipIf(!hasSwiftShader)("opens SwiftShader by name beside other adapters, and the others after it", async () => {
    const before = await listAdapters();
    expect(describeAdapter((await openGpu({ adapter: "SwiftShader" })).adapter).name).toMatch(/swiftshader/i);
    expect(await listAdapters()).toEqual(before);
  });

  it("names the adapters there are when none matches", async () => {
    const error = await openGpu({ adapter: "voodoo2" }).catch((error) => error);
    expect(error).toBeInstanceOf(UnsupportedDeviceError);
    expect(error.message).toMatch(/"voodoo2".*there is ".+".*(Install|Update)/);
  });

  it.skipIf(!hasSwiftShader)("says how to get a software adapter when it cannot be unpacked", async () => {
    vi.stubEnv("VK_DRIVER_FILES", "/nowhere.json");
    vi.stubEnv("XDG_CACHE_HOME", "/dev/null");
    vi.stubEnv("TMPDIR", "/dev/null");
    await expect(openGpu()).rejects.toThrow(/No WebGPU adapter was found\..*neither .* can be written/);
  });
});

describe.skipIf(!hasSwiftShader)("unpackSparticuz", () => {
  it("unpacks once when asked twice at the same time", async () => {
    const cache = await mkdtemp(join(tmpdir(), "sluice-cache-"));
    vi.stubEnv("XDG_CACHE_HOME", cache);
    try {
      const [one, two] = await Promise.all([1, 2].map(() => unpackSparticuz("swiftshader", ["swiftshader.tar.br"])));
      expect(one).toBe(two);
      expect(await readdir(one!)).toContain("libvk_swiftshader.so");
      expect(await readdir(join(cache, "sluice"))).toHaveLength(1);
    } finally {
      await rm(cache, { recursive: true });
    }
  });
});
