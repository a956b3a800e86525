import type { EngineStats } from "../engine/engine.ts";

/** Numbers of the same place added up, however deep; of at least one. */
export const sumStats = (all: readonly EngineStats[]): EngineStats => all.reduce(sum);

function sum<T extends object>(a: T, b: T): T {
  const total = { ...a } as Record<string, unknown>;
  for (const [key, value] of Object.entries(b)) {
    const other = total[key];
    if (typeof value === "number") total[key] = typeof other === "number" ? other + value : value;
    else if (isRecord(value)) total[key] = isRecord(other) ? sum(other, value) : value;
  }
  return total as T;
}

const isRecord = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);
