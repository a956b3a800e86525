/**
 * The number in [0, 1) with which the token `index` of a reply is drawn (0 is the first token of the reply). It depends on
 * seed and index alone, so that a reply can be continued anywhere. In 32-bit unsigned arithmetic:
 *
 *     bits = mix(seed + mix(index + 0x9e3779b9)),   result = (bits >> 8) · 2⁻²⁴
 */
export function randomAt(seed: number, index: number): number {
  return (mix((seed + mix(index + 0x9e3779b9)) | 0) >>> 8) * 2 ** -24;
}

/** A bijection of u32 in which every input bit reaches every output bit (constants of lowbias32, Chris Wellons, 2018). */
function mix(value: number): number {
  let x = value | 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  x ^= x >>> 16;
  return x >>> 0;
}
