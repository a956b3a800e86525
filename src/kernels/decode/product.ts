import floats from "../../../shaders/decode/floats.wgsl?raw";
import source from "../../../shaders/decode/product.wgsl?raw";
import packed from "../../../shaders/decode/rows-packed.wgsl?raw";
import plain from "../../../shaders/decode/rows-plain.wgsl?raw";
import staged from "../../../shaders/decode/staged-floats.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import type { QuantizedFormat, WeightFormat } from "../../weights/format.ts";
import { digits, isPacked, stagedDigits } from "./digits.ts";

/** One row times up to three matrices. Needs `sizes`, one of `inputs`, and `productParts`. Grid: [workgroups of all parts]. */
export const product = defineKernel({
  name: "decode-product",
  source,
  buffers: ["x", "y"],
  constants: ["COLUMNS"],
});

/** Matrices of one dispatch; packed ones have the same format. */
export const MAX_PARTS = 3;

/** The parts of a product by their formats: bound as weight0, weight1, …; constants ROWS0, START0, GROUPS0, … */
export function productParts(formats: readonly WeightFormat[], hasPlus: boolean): Fragment[] {
  const format = formats.find(isPacked);
  return [
    ...(format ? [digits[format], stagedDigits] : []),
    ...(formats.some((f) => !isPacked(f)) ? [plainPart.conversions, { name: "staged-floats", source: staged }] : []),
    ...formats.map((f, p) => ({ name: `part-${p}-${f}`, source: rows(f, p) })),
    { name: "store", source: hasPlus ? STORE_PLUS : STORE },
    { name: "main", source: partsMain(formats.length) },
  ];
}

const rows = (format: WeightFormat, part: number): string =>
  isPacked(format) ? named(packed, part) : plainPart.source(plain, format, part);

/** A part's names and places in a template: $p is its number, $a and $b are bindings. */
export const named = (text: string, part: number): string =>
  text
    .replaceAll("$p", `${part}`)
    .replaceAll("$a", `${6 + 2 * part}`)
    .replaceAll("$b", `${7 + 2 * part}`);

/** Parts whose weights are floats: how a template reads them. */
export const plainPart = {
  conversions: { name: "floats", source: floats },
  source(template: string, format: Exclude<WeightFormat, QuantizedFormat>, part: number): string {
    const weight = `weight${part}`;
    const isWide = format === "f32";
    return named(template, part)
      .replaceAll("$vector", isWide ? "vec4<f32>" : "vec4<u32>")
      .replaceAll("$eight", isWide ? "mat2x4<f32>" : "vec4<u32>")
      .replaceAll("$load", isWide ? `mat2x4<f32>(${weight}[2u * at], ${weight}[2u * at + 1u])` : `${weight}[at]`)
      .replaceAll("$convert", { f32: "fromF32", f16: "fromF16", bf16: "fromBf16" }[format]);
  },
};

const STORE = "fn store(row: u32, value: f32) { y[row] = value; }";

const STORE_PLUS = `
override PLUS_OFFSET: u32;
override PLUS_STRIDE: u32;
@group(0) @binding(3) var<storage, read> plus: array<f32>;
fn store(row: u32, value: f32) { y[row] = value + plus[PLUS_OFFSET + row]; }`;

/** What surrounds the parts of a product in its main function. */
interface PartsMain {
  readonly workgroup?: string;
  /** Statements before a part is chosen. */
  readonly before?: string;
  /** What a part is given after its workgroup and thread. */
  readonly rows?: string;
}

/** A main function whose workgroups each work on one part, GROUPS0 on the first, and so on. */
export function partsMain(parts: number, { workgroup = "WORKGROUP", before = "", rows = "" }: PartsMain = {}): string {
  const all = Array.from({ length: parts }, (_, p) => p);
  const start = (p: number) => ["group.x", ...all.slice(0, p).map((q) => `GROUPS${q}`)].join(" - ");
  const end = (p: number) => all.slice(0, p + 1).map((q) => `GROUPS${q}`);
  return `
${all.map((p) => `override GROUPS${p}: u32;`).join("\n")}
@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
${before}
${all.map((p) => `  if (group.x < ${end(p).join(" + ")}) { part${p}(${start(p)}, thread${rows}); return; }`).join("\n")}
}`;
}
