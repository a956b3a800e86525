import type { Fragment } from "../../gpu/shader.ts";

/** Sizes of registers and workgroup memory, which WGSL wants as constants: `{ rowsPerTeam: 2 }` is ROWS_PER_TEAM = 2. */
export const sizes = (values: Readonly<Record<string, number>>): Fragment => ({
  name: "sizes",
  source: Object.entries(values)
    .map(([name, value]) => `const ${name.replace(/([A-Z])/g, "_$1").toUpperCase()} = ${value}u;`)
    .join("\n"),
});
