/**
 * WGSL in which each line with `$t` is written once for each of 0 … count − 1, and `TOKENS` is a constant. Compilers keep
 * variables in registers that they would leave in memory as elements of an array.
 */
export const unroll = (source: string, count: number): string =>
  `const TOKENS = ${count}u;\n${expand(source, { t: count })}`;

/** WGSL in which each line with `$name` is written once for each of 0 … counts[name] − 1; with two names, for all pairs. */
export function expand(source: string, counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts).reduce(
    (text, [name, count]) =>
      text.replace(new RegExp(`^.*\\$${name}.*$`, "gm"), (line) => {
        // A comment may speak of the name.
        if (line.trimStart().startsWith("//")) return line;
        return Array.from({ length: count }, (_, i) => line.replaceAll(`$${name}`, `${i}`)).join("\n");
      }),
    source,
  );
}
