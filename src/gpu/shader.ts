import { invariant } from "../errors.ts";
import type { DeviceProfile } from "./profile.ts";

/** WGSL put in front of a kernel: shared functions, aliases, a weight format. It may depend on what the device can do. */
export interface Fragment {
  readonly name: string;
  readonly source: string | ((profile: DeviceProfile) => string);
}

export interface Binding {
  readonly name: string;
  readonly index: number;
  readonly access: "read" | "read_write";
}

/** A kernel's WGSL as one module, and what it says of itself. */
export interface Shader {
  readonly code: string;
  readonly bindings: readonly Binding[];
  /** Constants that are read from a uniform buffer (group 1, binding 0), a word each in this order. */
  readonly uniforms: readonly { readonly name: string; readonly type: string }[];
  /** Names of `override` constants; those with a default are optional. */
  readonly constants: ReadonlyMap<string, { readonly optional: boolean }>;
}

/** Puts directives, fragments and kernel together, and reads bindings and constants off the result. */
export function composeShader(source: string, uses: readonly Fragment[], profile: DeviceProfile): Shader {
  const parts = [...new Set(uses)].map((f) => (typeof f.source === "string" ? f.source : f.source(profile)));
  const body = withoutComments([...parts, source].join("\n"));
  const constants = parseConstants(body);
  const { code, uniforms } = profile.specialize ? { code: body, uniforms: [] } : shareShapes(body, constants);
  return { code: directives(code) + code, bindings: parseBindings(code), constants: names(constants), uniforms };
}

interface Constant {
  readonly name: string;
  readonly type: string;
  readonly declaration: string;
  readonly initializer: string | undefined;
}

/** Comments go first, so that what is parsed is code. Line numbers stay as they are. */
const withoutComments = (source: string): string => source.replace(/\/\/.*$/gm, "");

/** Reads constants from a uniform buffer, except those that sizes of workgroups or arrays depend on. */
function shareShapes(body: string, constants: readonly Constant[]): { code: string; uniforms: Constant[] } {
  const fixed = [
    ...[...body.matchAll(/@workgroup_size\(([^)]*)\)/g)].map((m) => m[1]),
    ...[...body.matchAll(/array<[^;{}()]*?,([^>;]*)>/g)].map((m) => m[1]),
    ...constants.map((c) => c.initializer ?? ""),
  ].join(" ");
  const uniforms = constants.filter((c) => c.type !== "bool" && !c.initializer && !hasWord(fixed, c.name));
  if (uniforms.length === 0) return { code: body, uniforms };
  let code = body;
  for (const { name, declaration } of uniforms) {
    code = code.replace(declaration, "").replace(new RegExp(`\\b${name}\\b`, "g"), `shapes.${name}`);
  }
  const fields = uniforms.map(({ name, type }) => `${name}: ${type}`).join(", ");
  code += `\nstruct Shapes { ${fields} }\n@group(1) @binding(0) var<uniform> shapes: Shapes;\n`;
  return { code, uniforms };
}

const hasWord = (text: string, word: string): boolean => new RegExp(`\\b${word}\\b`).test(text);

const names = (constants: readonly Constant[]) =>
  new Map(constants.map(({ name, initializer }) => [name, { optional: initializer !== undefined }]));

function directives(body: string): string {
  const lines: string[] = [];
  if (/\bf16\b/.test(body)) lines.push("enable f16;");
  // The size of subgroups is uniform in the workgroups we launch; the analysis cannot know it.
  if (/\bsubgroup/.test(body)) lines.push("enable subgroups;", "diagnostic(off, subgroup_uniformity);");
  if (/\bsubgroup_matrix_/.test(body)) {
    lines.push(
      "enable chromium_experimental_subgroup_matrix;",
      "diagnostic(off, chromium.subgroup_matrix_uniformity);",
    );
  }
  if (/\bdot4[IU]8Packed\b/.test(body)) lines.push("requires packed_4x8_integer_dot_product;");
  return lines.length > 0 ? `${lines.join("\n")}\n` : "";
}

const BINDING = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage(?:,\s*(read|read_write))?>\s+(\w+)/g;
const OVERRIDE = /override\s+(\w+)\s*:\s*(\w+)\s*(?:=([^;]*))?;/g;

function parseBindings(code: string): Binding[] {
  const bindings = [...code.matchAll(BINDING)].map(([, index, access, name]) => ({
    name,
    index: Number(index),
    access: (access ?? "read") as Binding["access"],
  }));
  const indices = new Set(bindings.map((b) => b.index));
  invariant(indices.size === bindings.length, `two bindings share an index: ${JSON.stringify(bindings)}`);
  return bindings.sort((a, b) => a.index - b.index);
}

function parseConstants(code: string): Constant[] {
  return [...code.matchAll(OVERRIDE)].map(([declaration, name, type, initializer]) => ({
    declaration,
    name,
    type,
    initializer,
  }));
}
