import readF16 from "../../../shaders/attention/kv-read-f16.wgsl?raw";
import readF32 from "../../../shaders/attention/kv-read-f32.wgsl?raw";
import rows from "../../../shaders/attention/kv-rows.wgsl?raw";
import writeF16 from "../../../shaders/attention/kv-write-f16.wgsl?raw";
import writeF32 from "../../../shaders/attention/kv-write-f32.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";

/** Where a token's keys and values are: `cacheRow(sequence, head, position)`. */
export const kvRows: Fragment = { name: "kv-rows", source: rows };

/** `keys8(i)`: elements 8i … 8i + 7 of the keys as two vec4; `values2(i)`: 2i and 2i + 1 of the values. Bound at 6 and 7. */
export const kvRead: Readonly<Record<"f32" | "f16", Fragment>> = {
  f32: { name: "kv-read-f32", source: readF32 },
  f16: { name: "kv-read-f16", source: readF16 },
};

/** `storeKeys(i, pair)` and `storeValues(i, pair)`: elements 2i and 2i + 1 of a cache. Bound like `kvRead`. */
export const kvWrite: Readonly<Record<"f32" | "f16", Fragment>> = {
  f32: { name: "kv-write-f32", source: writeF32 },
  f16: { name: "kv-write-f16", source: writeF16 },
};
