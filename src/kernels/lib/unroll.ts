/**
 * WGSL in which each line with `$t` is written once for each of 0 … count − 1, and `TOKENS` is a constant. Compilers keep
 * variables in registers that they would leave in memory as elements of an array.
 */
export const unroll = (source: string, count: number): string =>
  `const TOKENS = ${count}u;\n` +
  source.replace(/^.*\$t.*$/gm, (line) => {
    // A comment may speak of $t.
    if (line.trimStart().startsWith("//")) return line;
    return Array.from({ length: count }, (_, t) => line.replaceAll("$t", `${t}`)).join("\n");
  });
