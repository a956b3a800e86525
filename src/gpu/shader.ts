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
  /** Names of `override` constants; those with a default are optional. */
  readonly constants: ReadonlyMap<string, { readonly optional: boolean }>;
}

/** Puts directives, fragments and kernel together, and reads bindings and constants off the result. */
export function composeShader(source: string, uses: readonly Fragment[], profile: DeviceProfile): Shader {
  const parts = [...new Set(uses)].map((f) => (typeof f.source === "string" ? f.source : f.source(profile)));
  const body = [...parts, source].join("\n");
  const code = directives(body) + body;
  const plain = body.replace(/\/\/.*$/gm, "");
  return { code, bindings: parseBindings(plain), constants: parseConstants(plain) };
}

function directives(body: string): string {
  const plain = body.replace(/\/\/.*$/gm, "");
  const lines: string[] = [];
  if (/\bf16\b/.test(plain)) lines.push("enable f16;");
  // The size of subgroups is uniform in the workgroups we launch; the analysis cannot know it.
  if (/\bsubgroup/.test(plain)) lines.push("enable subgroups;", "diagnostic(off, subgroup_uniformity);");
  if (/\bdot4[IU]8Packed\b/.test(plain)) lines.push("requires packed_4x8_integer_dot_product;");
  return lines.length > 0 ? `${lines.join("\n")}\n` : "";
}

const BINDING = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage(?:,\s*(read|read_write))?>\s+(\w+)/g;
const OVERRIDE = /override\s+(\w+)\s*(?::\s*\w+)?\s*(=)?/g;

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

function parseConstants(code: string): Map<string, { optional: boolean }> {
  return new Map([...code.matchAll(OVERRIDE)].map(([, name, hasDefault]) => [name, { optional: hasDefault === "=" }]));
}
