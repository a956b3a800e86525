import { MISSING } from "./expert-slots.ts";

/** Experts in groups of at most `slots`, each once: first those on the device, which need not wait for any. */
export function expertPasses(
  needed: ReadonlySet<number>,
  slots: number,
  isResident: (expert: number) => boolean,
): Set<number>[] {
  const resident = [...needed].filter(isResident);
  const missing = [...needed].filter((expert) => !isResident(expert));
  const passes = resident.length > 0 ? [new Set(resident)] : [];
  for (let i = 0; i < missing.length; i += slots) passes.push(new Set(missing.slice(i, i + slots)));
  return passes;
}

/**
 * The next pass over rows [rows, topK] of which only `open` are left: rows whose experts fit into `slots` together, those
 * first that miss least. Rows that are taken leave `open`.
 */
export function nextRowPass(
  chosen: Uint32Array,
  topK: number,
  open: Set<number>,
  slots: number,
  isResident: (expert: number) => boolean,
): Set<number> {
  const expertsOf = (row: number) =>
    [...new Set(chosen.subarray(row * topK, (row + 1) * topK))].filter((expert) => expert !== MISSING);
  const misses = new Map([...open].map((row) => [row, expertsOf(row).filter((e) => !isResident(e)).length]));
  const pass = new Set<number>();
  for (const row of [...open].sort((a, b) => misses.get(a)! - misses.get(b)!)) {
    const added = expertsOf(row).filter((expert) => !pass.has(expert));
    if (pass.size + added.length > slots) continue;
    for (const expert of added) pass.add(expert);
    open.delete(row);
  }
  return pass;
}
