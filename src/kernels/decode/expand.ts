/**
 * WGSL in which each line with `$r`, `$i` … is written once for every combination of their values 0 … count − 1. What would
 * be elements of an array are then variables, which compilers keep in registers.
 */
export function expand(source: string, counts: Readonly<Record<string, number>>): string {
  return source
    .replace(/\/\/.*$/gm, "")
    .split("\n")
    .flatMap((line) =>
      Object.entries(counts).reduce<string[]>(
        (lines, [name, count]) =>
          lines.flatMap((text) =>
            text.includes(`$${name}`)
              ? Array.from({ length: count }, (_, value) => text.replaceAll(`$${name}`, `${value}`))
              : [text],
          ),
        [line],
      ),
    )
    .join("\n");
}
