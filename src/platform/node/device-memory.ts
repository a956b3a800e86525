import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { totalmem } from "node:os";
import { promisify } from "node:util";

/** Bytes of memory of an adapter, which WebGPU does not tell; undefined where the system does not either. */
export async function deviceMemory(adapter: { name: string; isSoftware: boolean }): Promise<number | undefined> {
  return adapter.isSoftware ? totalmem() : ((await nvidiaMemory(adapter.name)) ?? (await amdMemory()));
}

async function nvidiaMemory(name: string): Promise<number | undefined> {
  const query = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"];
  const { stdout } = await promisify(execFile)("nvidia-smi", query, { timeout: 10_000 }).catch(() => ({ stdout: "" }));
  const rows = stdout.split("\n").map((line) => line.split(",").map((cell) => cell.trim()));
  const row = rows.find(([model]) => model && (name.includes(model) || model.includes(name)));
  return Number(row?.[1]) > 0 ? Number(row![1]) * 2 ** 20 : undefined;
}

async function amdMemory(): Promise<number | undefined> {
  const cards = await readdir("/sys/class/drm").catch(() => []);
  for (const card of cards.filter((card) => /^card\d+$/.test(card))) {
    const bytes = Number(await readFile(`/sys/class/drm/${card}/device/mem_info_vram_total`, "utf8").catch(() => ""));
    if (bytes > 0) return bytes;
  }
  return undefined;
}
