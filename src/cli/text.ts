/** Bytes as a person says them. */
export const bytesText = (bytes: number): string => scaled(bytes, ["B", "kB", "MB", "GB", "TB"]);

/** A count as a person says it: 25.3 M. */
export const countText = (count: number): string => scaled(count, ["", "k", "M", "B", "T"]).trimEnd();

/** Three digits that count, at least. */
export const rateText = (perSecond: number): string => perSecond.toFixed(perSecond < 10 ? 2 : perSecond < 100 ? 1 : 0);

/** Rows as lines, their columns aligned: the first on the left, all others on the right unless `left` says so. */
export function table(rows: readonly (readonly string[])[], { left = [0] }: { left?: readonly number[] } = {}): string {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (left.includes(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  return rows.map((row) => `  ${line(row).trimEnd()}`).join("\n");
}

function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}
