import { Q4_SHIFTS } from "./decode.ts";
import { dataBytes, GROUP, scaleBytes, type WeightRows } from "./format.ts";
import { floatToHalf, halfToFloat } from "./half.ts";
import { bytesOf } from "./views.ts";

/** Finite weights [rows, columns], columns a multiple of 32, to int8 with one scale per 32: absmax / 127. */
export function quantizeQ8(values: Float32Array, columns: number): WeightRows {
  const data = new Int8Array(dataBytes("q8", values.length));
  const scales = new Uint16Array(scaleBytes("q8", values.length) / 2);
  for (let start = 0; start < values.length; start += GROUP) {
    const absmax = Math.abs(signedMax(values, start));
    let half = floatToHalf(absmax / 127);
    // A subnormal scale may be rounded so far down that the largest weight would be cut off.
    if (halfToFloat(half) * 127.5 < absmax) half++;
    scales[start / GROUP] = half;
    const inverse = inverseOf(half);
    for (let i = start; i < start + GROUP; i++) {
      // The cut to whole numbers, of what is positive, is ten times as fast as Math.round.
      const q = ((values[i] * inverse + 128.5) | 0) - 128;
      data[i] = q > 127 ? 127 : q < -127 ? -127 : q;
    }
  }
  return { format: "q8", rows: values.length / columns, columns, data: bytesOf(data), scales: bytesOf(scales) };
}

/**
 * Finite weights [rows, columns], columns a multiple of 32, to 4 bits with one scale per 32. The scale is searched:
 * levels reach from −8 to 7, so the best one seldom puts the largest weight exactly on −8.
 */
export function quantizeQ4(values: Float32Array, columns: number): WeightRows {
  const data = new Uint32Array(dataBytes("q4", values.length) / 4);
  const scales = new Uint16Array(scaleBytes("q4", values.length) / 2);
  for (let start = 0; start < values.length; start += GROUP) {
    const half = searchScale(values, start);
    scales[start / GROUP] = half;
    const inverse = inverseOf(half);
    for (let i = start; i < start + GROUP; i += 8) {
      let word = 0;
      for (let e = 0; e < 8; e++) word |= level(values[i + e], inverse) << Q4_SHIFTS[e];
      data[i >> 3] = word;
    }
  }
  return { format: "q4", rows: values.length / columns, columns, data: bytesOf(data), scales: bytesOf(scales) };
}

/**
 * Finite weights [rows, columns], columns a multiple of 32, to 4 bits with a scale and a min per 32. Both are searched: to
 * cut off a little at either end makes the steps between finer.
 */
export function quantizeQ4a(values: Float32Array, columns: number): WeightRows {
  const data = new Uint32Array(dataBytes("q4a", values.length) / 4);
  const scales = new Uint16Array(scaleBytes("q4a", values.length) / 2);
  for (let start = 0, group = 0; start < values.length; start += GROUP, group += 2) {
    searchRange(values, start);
    scales[group] = floatToHalf(scale);
    const stepSize = halfToFloat(scales[group]);
    const inverse = inverseOf(scales[group]);
    // The scale has been rounded: the min makes up for it.
    fitRange(values, start, inverse, min);
    scales[group + 1] = floatToHalf((sum - stepSize * levels) / GROUP);
    const offset = 0.5 - halfToFloat(scales[group + 1]) * inverse;
    for (let i = start; i < start + GROUP; i += 8) {
      let word = 0;
      for (let e = 0; e < 8; e++) word |= rangeLevel(values[i + e] * inverse + offset) << Q4_SHIFTS[e];
      data[i >> 3] = word;
    }
  }
  return { format: "q4a", rows: values.length / columns, columns, data: bytesOf(data), scales: bytesOf(scales) };
}

/** 0 where the scale is 0: then every weight of a group becomes the same. */
const inverseOf = (half: number): number => ((half & 0x7fff) === 0 ? 0 : 1 / halfToFloat(half));

/** The nearest of the levels 0…15, which stand for −8…7. */
function level(value: number, inverse: number): number {
  const q = (value * inverse + 8.5) | 0; // the cut is towards zero, so what is below −8.5 becomes 0 or less
  return Math.max(0, Math.min(15, q));
}

/** Where the largest weight lands: −8 exactly, a little beyond it (cut off, the others finer), or short of it. */
const LANDINGS = [-8, -9.2, -8.6, -8.3, -7.7, -7.4, -7, -6.6, 7, 7.4, 7.8] as const;

/**
 * The f16 scale with the least squared error. For fixed levels u the best scale is Σwu / Σu², which lowers the error to
 * Σw² − (Σwu)² / Σu²; so each landing is judged by that, the best is rounded to f16, and the levels are chosen anew.
 */
function searchScale(values: Float32Array, start: number): number {
  const max = signedMax(values, start);
  if (max === 0) return 0;
  let bestGain = 0;
  let bestScale = 0;
  for (const landing of LANDINGS) {
    fitLevels(values, start, landing / max);
    if (gain > bestGain) {
      bestGain = gain;
      bestScale = scale;
    }
  }
  fitLevels(values, start, 1 / bestScale);
  const refined = floatToHalf(gain > bestGain ? scale : bestScale);
  const plain = floatToHalf(max / -8);
  return squaredError(values, start, refined) < squaredError(values, start, plain) ? refined : plain;
}

// What `fitLevels` found; two numbers are too few to allocate an object for, a million times.
let gain = 0;
let scale = 0;

function fitLevels(values: Float32Array, start: number, inverse: number): void {
  let wu = 0;
  let uu = 0;
  for (let i = start; i < start + GROUP; i++) {
    const u = level(values[i], inverse) - 8;
    wu += values[i] * u;
    uu += u * u;
  }
  scale = wu / uu;
  gain = wu * scale;
}

function squaredError(values: Float32Array, start: number, half: number): number {
  const scale = halfToFloat(half);
  const inverse = inverseOf(half);
  let sum = 0;
  for (let i = start; i < start + GROUP; i++) {
    const error = values[i] - (level(values[i], inverse) - 8) * scale;
    sum += error * error;
  }
  return sum;
}

/** The weight of the largest magnitude, with its sign. */
function signedMax(values: Float32Array, start: number): number {
  let max = 0;
  for (let i = start; i < start + GROUP; i++) if (Math.abs(values[i]) > Math.abs(max)) max = values[i];
  return max;
}

/** How many steps the range is cut by, at its lower end and at its upper one. */
const CUTS = [0, 0.5, 1].flatMap((low) => [0, 0.5, 1].map((high) => [low, high] as const));

// What `searchRange` and `fitRange` found.
let min = 0;
let sum = 0;
let levels = 0;
let error = 0;

/**
 * Leaves in `scale` and `min` what has the least squared error. For fixed levels u both follow by least squares; so each
 * cut is judged by that, and the levels of the best are chosen anew until nothing is gained.
 */
function searchRange(values: Float32Array, start: number): void {
  let low = values[start];
  let high = low;
  for (let i = start + 1; i < start + GROUP; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  let bestError = Number.POSITIVE_INFINITY;
  let bestScale = 0;
  let bestMin = low;
  const improve = (stepSize: number, from: number): boolean => {
    fitRange(values, start, 1 / stepSize, from);
    if (!(error < bestError)) return false;
    [bestError, bestScale, bestMin] = [error, scale, min];
    return true;
  };
  if (high > low) {
    for (const [below, above] of CUTS) {
      const stepSize = (high - low) / (15 + below + above);
      improve(stepSize, low + below * stepSize);
    }
    for (let round = 0; round < 3 && bestScale > 0; round++) if (!improve(bestScale, bestMin)) break;
  }
  scale = bestScale;
  min = bestMin;
}

/** Least squares of w ≈ scale · u + min for the levels that `inverse` and `from` give. */
function fitRange(values: Float32Array, start: number, inverse: number, from: number): void {
  const offset = 0.5 - from * inverse;
  let u = 0;
  let uu = 0;
  let w = 0;
  let ww = 0;
  let wu = 0;
  for (let i = start; i < start + GROUP; i++) {
    const value = values[i];
    const q = rangeLevel(value * inverse + offset);
    u += q;
    uu += q * q;
    w += value;
    ww += value * value;
    wu += value * q;
  }
  const spread = GROUP * uu - u * u;
  scale = spread > 0 ? (GROUP * wu - u * w) / spread : 0;
  min = (w - scale * u) / GROUP;
  error = ww - scale * wu - min * w;
  sum = w;
  levels = u;
}

function rangeLevel(raised: number): number {
  const q = raised | 0;
  return q < 0 ? 0 : q > 15 ? 15 : q;
}
