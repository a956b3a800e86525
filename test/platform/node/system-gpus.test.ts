import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parseNvidiaSmi, systemGpus } from "../../../src/platform/node/system-gpus.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** A file system with these files. */
function root(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "sluice-gpus-"));
  folders.push(folder);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return folder;
}

const information = (minor: number, busId: string) =>
  `Model: \t\t NVIDIA H200\nIRQ:   \t\t 331\nGPU UUID: \t GPU-1f\nBus Location: \t ${busId}\nDevice Minor: \t ${minor}\n`;

const SMI = "00000000:19:00.0, 143771\n00000000:9B:00.0, 143771\n";

const TWO_H200 = {
  "proc/driver/nvidia/gpus/0000:9b:00.0/information": information(0, "0000:9b:00.0"),
  "proc/driver/nvidia/gpus/0000:19:00.0/information": information(1, "0000:19:00.0"),
  "dev/nvidia0": "",
  "dev/nvidia1": "",
};

test("NVIDIA's are counted by bus id, and their device files by the driver's own number", async () => {
  const name = "NVIDIA H200";
  const memoryBytes = 143771 * 2 ** 20;
  expect(await systemGpus({ root: root(TWO_H200), nvidiaSmi: async () => SMI })).toEqual([
    { index: 0, name, busId: "0000:19:00.0", memoryBytes, device: "/dev/nvidia1" },
    { index: 1, name, busId: "0000:9b:00.0", memoryBytes, device: "/dev/nvidia0" },
  ]);
});

test("without nvidia-smi their memory is unknown; a GPU without a device file was not given to the container", async () => {
  const files: Record<string, string> = { ...TWO_H200 };
  delete files["dev/nvidia1"];
  const gpus = await systemGpus({ root: root(files), nvidiaSmi: async () => undefined });
  expect(gpus).toMatchObject([{ index: 0, busId: "0000:9b:00.0", memoryBytes: undefined }]);
});

test("others are found where a driver runs them", async () => {
  const pci = (busId: string, facts: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(facts).map(([name, text]) => [`sys/bus/pci/devices/${busId}/${name}`, `${text}\n`]),
    );
  const folder = root({
    ...pci("0000:03:00.0", {
      vendor: "0x1002",
      device: "0x73bf",
      class: "0x030000",
      driver: "",
      mem_info_vram_total: "17163091968",
    }),
    ...pci("0000:04:00.0", { vendor: "0x1002", device: "0x73bf", class: "0x030000" }),
    ...pci("0000:05:00.0", { vendor: "0x8086", device: "0x1533", class: "0x020000", driver: "" }),
  });
  expect(await systemGpus({ root: folder })).toEqual([
    { index: 0, name: "AMD 73bf", busId: "0000:03:00.0", memoryBytes: 17163091968 },
  ]);
});

test("nothing is found where nothing is", async () => {
  expect(await systemGpus({ root: root({}) })).toEqual([]);
  expect(parseNvidiaSmi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n").size).toBe(
    0,
  );
});
