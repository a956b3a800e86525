import { describe, expect, it } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { canQuantize, convertRows, encodeRows } from "../../src/weights/convert.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import type { WeightFormat, WeightRows } from "../../src/weights/format.ts";

const u16 = (bytes: Uint8Array) => [...new Uint16Array(bytes.slice().buffer)];
const f32Rows = (values: number[], columns: number): WeightRows => ({
  format: "f32",
  rows: values.length / columns,
  columns,
  data: new Uint8Array(Float32Array.from(values).buffer),
});

/** Normally distributed enough: sums of twelve uniform numbers, seeded. */
function noise(count: number, seed = 1): Float32Array {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Float32Array.from({ length: count }, () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += uniform();
    return sum * 0.02;
  });
}

function relativeRms(actual: Float32Array, expected: Float32Array): number {
  let error = 0;
  let power = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    power += expected[i] ** 2;
  }
  return Math.sqrt(error / power);
}

describe("layouts, written by hand", () => {
  // Levels −8…7 of the elements 0…7; the scale is 0.5, which is 0x3800.
  it("q4 puts the elements 0…7 of a word at bits 0, 16, 4, 20, 8, 24, 12, 28", () => {
    const levels = [-8, 1, -3, 4, 0, 7, -1, 2];
    // Stored as level + 8:  0, 9, 5, 12, 8, 15, 7, 10
    const word = [0x50, 0x78, 0xc9, 0xaf];
    const data = Uint8Array.from([...word, ...word, ...word, ...word]);
    const weights = Float32Array.from({ length: 32 }, (_, i) => levels[i % 8] * 0.5);
    const rows: WeightRows = { format: "q4", rows: 1, columns: 32, data, scales: Uint8Array.of(0x00, 0x38) };
    expect([...decodeRows(rows)]).toEqual([...weights]);
    expect(encodeRows(weights, 32, "q4", "w")).toEqual(rows);
  });

  it("q4 takes the next four words and the next scale for the next group", () => {
    const data = new Uint8Array(32).fill(0x88); // all zero
    data[4] = 0x89; // word 1, bits 0…3: element 8 of the first group
    data[16 + 3] = 0x98; // word 4, bits 28…31 hold 9: element 7 of the second group
    const scales = Uint8Array.of(0x00, 0x3c, 0x00, 0xc0); // 1 and −2
    const expected = new Array(64).fill(0);
    expected[8] = 1;
    expected[32 + 7] = -2;
    const decoded = decodeRows({ format: "q4", rows: 2, columns: 32, data, scales });
    expect([...decoded].map((value) => value + 0)).toEqual(expected);
  });

  it("q4a puts them as q4 does; scale and min lie side by side, one pair for 32", () => {
    // Levels 0 … 15 twice, then 15 … 0 twice.
    const weights = Float32Array.from({ length: 64 }, (_, i) =>
      i < 32 ? (i % 16) * 0.5 + 3 : (15 - (i % 16)) * 2 - 64,
    );
    const up = [0x20, 0x64, 0x31, 0x75, 0xa8, 0xec, 0xb9, 0xfd];
    const down = [0xdf, 0x9b, 0xce, 0x8a, 0x57, 0x13, 0x46, 0x02];
    const data = Uint8Array.from([...up, ...up, ...down, ...down]);
    const scales = Uint8Array.of(0x00, 0x38, 0x00, 0x42, 0x00, 0x40, 0x00, 0xd4); // 0.5 and 3, 2 and −64
    const rows: WeightRows = { format: "q4a", rows: 2, columns: 32, data, scales };
    expect([...decodeRows(rows)]).toEqual([...weights]);
    expect(encodeRows(weights, 32, "q4a", "w")).toEqual(rows);
  });

  it("q8 keeps signed bytes in order; the scale is absmax / 127", () => {
    const levels = Array.from({ length: 64 }, (_, i) => (i === 5 ? 127 : i === 40 ? -127 : i - 32));
    const weights = Float32Array.from(levels, (level, i) => level * (i < 32 ? 0.25 : 2));
    const rows: WeightRows = {
      format: "q8",
      rows: 2,
      columns: 32,
      data: Uint8Array.from(levels, (level) => level & 255),
      scales: Uint8Array.of(0x00, 0x34, 0x00, 0x40), // 0.25 and 2
    };
    expect(encodeRows(weights, 32, "q8", "w")).toEqual(rows);
    expect([...decodeRows(rows)]).toEqual([...weights]);
  });
});

describe("encodeRows", () => {
  it.each([
    [1, 0x3f80],
    [1 + 2 ** -8, 0x3f80], // a tie, even below
    [1 + 3 * 2 ** -8, 0x3f82], // a tie, even above
    [1 + 2 ** -8 + 2 ** -20, 0x3f81],
    [-(2 - 2 ** -10), 0xc000],
    [2 ** -149 * 0x8000, 0x0000], // a subnormal tie
    [2 ** -149 * 0x8001, 0x0001],
    [-0, 0x8000],
  ])("rounds %d to nearest even in bf16", (value, bits) => {
    expect(u16(encodeRows(Float32Array.of(value), 1, "bf16", "w").data)).toEqual([bits]);
  });

  it.each<[WeightFormat, number]>([
    ["f16", 65520],
    ["f16", -1e30],
    ["bf16", 3.4e38],
    ["q4", 1e30],
    ["q4a", 1e30],
    ["q8", 1e30],
    ["f32", Number.NaN],
    ["bf16", Number.NEGATIVE_INFINITY],
    ["q4", Number.NaN],
    ["q8", Number.POSITIVE_INFINITY],
  ])("refuses for %s the weight %d, and says where it is", (format, value) => {
    const values = new Float32Array(128);
    values[96] = value;
    const encode = () => encodeRows(values, 64, format, "layers.3.w");
    expect(encode).toThrow(CheckpointError);
    expect(encode).toThrow(/layers\.3\.w.*row 1, column 32.*NaN, infinite or too large/);
  });

  it.each<WeightFormat>(["q4", "q4a", "q8"])("%s of zeros is zero, and tiny weights do not grow", (format) => {
    expect(decodeRows(encodeRows(new Float32Array(64), 32, format, "w")).every((value) => value === 0)).toBe(true);
    for (const size of [1e-5, 1e-6, 3e-7, 1e-8, 1e-30, 1e-45]) {
      const values = noise(64).map((value) => value * size);
      const decoded = decodeRows(encodeRows(values, 32, format, "w"));
      expect(relativeRms(decoded, values) || 0).toBeLessThanOrEqual(1);
    }
  });

  it("q8 does not cut off the largest weight where the scale is subnormal", () => {
    const values = Float32Array.from({ length: 32 }, (_, i) => (i - 16) * 7e-7); // absmax / 127 is 1.48 units
    expect(relativeRms(decodeRows(encodeRows(values, 32, "q8", "w")), values)).toBeLessThan(0.02);
  });

  it("q4's search is never worse than plain rounding, and better on the whole", () => {
    const values = noise(32 * 2000);
    values.set([3, -0.01, 0.02], 64); // an outlier
    for (let i = 32 * 1000; i < 32 * 1100; i++) values[i] *= 2e-5; // scales of one or two units of f16's subnormals
    const searched = decodeRows(encodeRows(values, 32, "q4", "w"));
    const plain = values.slice();
    for (let start = 0; start < values.length; start += 32) {
      const group = values.subarray(start, start + 32);
      const max = group.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
      const half = encodeRows(Float32Array.of(max / -8), 1, "f16", "scale");
      const scale = decodeRows(half)[0];
      group.forEach((value, i) => {
        plain[start + i] = Math.max(-8, Math.min(7, Math.round(value / scale))) * scale;
      });
      const ours = relativeRms(searched.subarray(start, start + 32), group);
      expect(ours).toBeLessThanOrEqual(relativeRms(plain.subarray(start, start + 32), group) + 1e-6);
    }
    expect(relativeRms(searched, values)).toBeLessThan(0.97 * relativeRms(plain, values));
  });

  it.each<[WeightFormat, number]>([
    ["q4", 0.09],
    ["q4a", 0.09],
    ["q8", 0.006],
    ["f16", 3e-4],
    ["bf16", 3e-3],
  ])("%s keeps noise within %d", (format, limit) => {
    const values = noise(32 * 100, 7);
    expect(relativeRms(decodeRows(encodeRows(values, 320, format, "w")), values)).toBeLessThan(limit);
  });

  it("says what cannot be quantised", () => {
    expect([0, 4, 31, 32, 48, 256].map(canQuantize)).toEqual([false, false, false, true, false, true]);
    expect(() => encodeRows(new Float32Array(48), 48, "q4", "w")).toThrow(/48 columns/);
  });
});

describe("convertRows", () => {
  it("returns the same rows for the same format, unless they are not numbers", () => {
    const rows = encodeRows(noise(64), 32, "q4", "w");
    expect(convertRows(rows, "q4", "w")).toBe(rows);
    const broken: WeightRows = { format: "bf16", rows: 1, columns: 2, data: Uint8Array.of(0, 0, 0xc0, 0x7f) };
    expect(() => convertRows(broken, "bf16", "w")).toThrow(/row 0, column 1/);
    const brokenScale: WeightRows = { ...rows, scales: Uint8Array.of(0, 0, 0, 0x7c) };
    expect(() => convertRows(brokenScale, "q4", "w")).toThrow(/row 1, column 0/);
  });

  it("goes from bf16 to f32 and back without a change, from odd addresses too", () => {
    const bf16 = encodeRows(noise(96), 3, "bf16", "w");
    const shifted = new Uint8Array(bf16.data.length + 1);
    shifted.set(bf16.data, 1);
    const f32 = convertRows({ ...bf16, data: shifted.subarray(1) }, "f32", "w");
    expect(f32.format).toBe("f32");
    expect(convertRows(f32, "bf16", "w")).toEqual(bf16);
  });

  it("goes through numbers between any two formats", () => {
    const q4 = encodeRows(noise(64), 32, "q4", "w");
    expect(decodeRows(convertRows(q4, "f32", "w"))).toEqual(decodeRows(q4));
    expect(decodeRows(convertRows(f32Rows([1, 2.5], 1), "f16", "w"))).toEqual(Float32Array.of(1, 2.5));
  });
});
