import type { CheckpointTensor } from "../checkpoint.ts";
import { affineFormats, encodeAffine } from "./affine.ts";
import type { ColumnReader } from "./columns.ts";
import { FLOAT_BYTES, FLOAT_TYPES } from "./elements.ts";
import type { Parts } from "./parts.ts";
import { transposeFloats, unpackAcross, wordRange } from "./transposed.ts";

/** Where the outputs 0…7 of a word are: its nibbles hold 0, 2, 4, 6, 1, 3, 5, 7. */
const SHIFTS = [0, 16, 4, 20, 8, 24, 12, 28] as const;

/**
 * AWQ "gemm": `qweight` I32 [inputs, outputs / 8] and `qzeros` I32 [groups, outputs / 8], eight outputs to a word; `scales`
 * [groups, outputs]. w = (q − zero) · scale.
 */
export function awqTensor(parts: Parts, columns: ColumnReader): CheckpointTensor {
  const scale = parts.get("scales", FLOAT_TYPES);
  const [groups, outputs] = scale.shape;
  const inputs = parts.get("qweight", ["I32"]).shape[0];
  const packed = parts.get("qweight", ["I32"], [inputs, outputs / 8]);
  const zeros = parts.get("qzeros", ["I32"], [groups, outputs / 8]);
  const group = inputs / groups;
  const formats = affineFormats(4, false, inputs, group);
  return parts.tensor(`${parts.prefix}weight`, [outputs, inputs], formats, async (from, to, signal) => {
    const [first, end] = wordRange(from, to, SHIFTS.length);
    const scaleBytes = FLOAT_BYTES[scale.dtype];
    const [words, zeroWords, factors] = await Promise.all([
      columns.read(parts, packed, 4 * first, 4 * end, signal),
      columns.read(parts, zeros, 4 * first, 4 * end, signal),
      columns.read(parts, scale, scaleBytes * from, scaleBytes * to, signal),
    ]);
    const zero = unpackAcross(zeroWords, from, to, SHIFTS, 15);
    const scales = transposeFloats(scale.dtype, factors, to - from);
    return encodeAffine(
      {
        ...{ rows: to - from, columns: inputs, group, scales },
        codes: unpackAcross(words, from, to, SHIFTS, 15),
        mins: scales.map((factor, i) => -factor * zero[i]),
      },
      formats.format,
    );
  });
}
