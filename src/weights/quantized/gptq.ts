import type { CheckpointTensor } from "../checkpoint.ts";
import { affineFormats, encodeAffine, inexact } from "./affine.ts";
import type { ColumnReader } from "./columns.ts";
import { FLOAT_BYTES, FLOAT_TYPES } from "./elements.ts";
import type { Parts } from "./parts.ts";
import { transposeFloats, unpackAcross, unpackDown, wordRange, wordsOf } from "./transposed.ts";

/** What config.json says of all matrices in GPTQ. */
export interface GptqOptions {
  /** Added to stored zeros: 1 in the format's first version, 0 in its second. */
  readonly zeroOffset: 0 | 1;
  readonly isSymmetric: boolean;
  /** Inputs are grouped by importance (`desc_act`): neighbours differ in scale. */
  readonly isPermuted: boolean;
}

/**
 * GPTQ: `qweight` I32 [inputs / n, outputs], n codes of neighbouring inputs to a word, the first in the low bits; `qzeros` I32
 * [groups, outputs / n]; `scales` [groups, outputs]; `g_idx` I32 [inputs], the group of each. w = (q − zero) · scale.
 */
export function gptqTensor(parts: Parts, options: GptqOptions, columns: ColumnReader): CheckpointTensor {
  const packed = parts.get("qweight", ["I32"]);
  const scale = parts.get("scales", FLOAT_TYPES);
  const order = parts.get("g_idx", ["I32"]);
  const [groups, outputs] = scale.shape;
  const inputs = order.shape[0];
  const bits = (32 * packed.shape[0]) / inputs;
  if (![2, 4, 8].includes(bits)) {
    throw parts.error(`${packed.name} has ${bits} bits a weight. Sluice reads GPTQ of 2, 4 and 8.`);
  }
  const perWord = 32 / bits;
  parts.get("qweight", ["I32"], [inputs / perWord, outputs]);
  const zeros = parts.get("qzeros", ["I32"], [groups, Math.ceil(outputs / perWord)]);
  const group = Math.ceil(inputs / groups);
  const formats = options.isPermuted ? inexact(`int${bits}`) : affineFormats(bits, options.isSymmetric, inputs, group);
  const shifts = Array.from({ length: perWord }, (_, i) => i * bits);
  const mask = 2 ** bits - 1;

  return parts.tensor(`${parts.prefix}weight`, [outputs, inputs], formats, async (from, to, signal) => {
    const [firstZero, endZero] = wordRange(from, to, perWord);
    const scaleBytes = FLOAT_BYTES[scale.dtype];
    const [words, zeroWords, factors, groupWords] = await Promise.all([
      columns.read(parts, packed, 4 * from, 4 * to, signal),
      columns.read(parts, zeros, 4 * firstZero, 4 * endZero, signal),
      columns.read(parts, scale, scaleBytes * from, scaleBytes * to, signal),
      columns.read(parts, { ...order, shape: [1, inputs] }, 0, 4 * inputs, signal),
    ]);
    const groupOf = wordsOf(groupWords);
    if (!options.isPermuted && groupOf.some((value, i) => value !== Math.floor(i / group))) {
      throw parts.error(`${order.name} puts inputs into groups out of order, which config.json denies (desc_act).`);
    }
    if (groupOf.some((value) => value >= groups)) throw parts.error(`${order.name} names groups that are not there.`);
    const zero = unpackAcross(zeroWords, from, to, shifts, mask).map((code) => (code + options.zeroOffset) & mask);
    if (options.isSymmetric && zero.some((code) => code !== 2 ** (bits - 1))) {
      throw parts.error(`${zeros.name} has zeros out of the middle, though config.json calls it symmetric (sym).`);
    }
    const scales = transposeFloats(scale.dtype, factors, to - from);
    return encodeAffine(
      {
        ...{ rows: to - from, columns: inputs, group, scales, groupOf },
        codes: unpackDown(words, to - from, bits),
        mins: scales.map((factor, i) => -factor * zero[i]),
      },
      formats.format,
    );
  });
}
