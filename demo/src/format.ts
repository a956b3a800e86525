/** 12.4 MB. Decimal units, as download sizes are given. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, count < 1 ? 0 : Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  return `${power === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[power]}`;
}

/** 9.6 of 21.3 MB: both in the unit of the whole. */
export function bytesOf(part: number, whole: number): string {
  const [value, unit] = bytes(whole).split(" ");
  const scale = whole / Number(value);
  return `${(part / scale).toFixed(value.includes(".") ? 1 : 0)} of ${value} ${unit}`;
}

export function duration(seconds: number): string {
  if (seconds < 1) return "under 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

/** As a clock counts: 0 s, 7 s, 2 min 5 s. */
export function seconds(ms: number): string {
  const whole = Math.round(ms / 1000);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

export function milliseconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** 0.8 ms, 24 ms. */
export function latency(ms: number): string {
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : milliseconds(ms);
}

/** Above a gigabyte a second there is nothing to be told from measuring for a moment. */
export const bandwidth = (perSecond: number): string => (perSecond < 1e9 ? `${bytes(perSecond)}/s` : "over 1 GB/s");

export function rate(perSecond: number): string {
  if (!Number.isFinite(perSecond) || perSecond <= 0) return "–";
  return `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond)} tok/s`;
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

/** 31.3 M, 79.7 B. */
export function parameters(value: number): string {
  return value >= 1e9 ? `${(value / 1e9).toFixed(1)} B` : `${(value / 1e6).toFixed(1)} M`;
}

/** How a list of conversations is parted. */
export function day(time: number, now = Date.now()): "Today" | "Yesterday" | "Earlier" {
  const midnight = new Date(now).setHours(0, 0, 0, 0);
  if (time >= midnight) return "Today";
  return time >= midnight - 86_400_000 ? "Yesterday" : "Earlier";
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share > 0.995 || share < 0.0995 ? 1 : 0)} %`.replace("100.0", "100");
}

/** How long ago something was, for a list. */
export function ago(time: number, now = Date.now()): string {
  const minutes = Math.floor((now - time) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  const days = Math.floor(minutes / (24 * 60));
  return days === 1 ? "yesterday" : `${days} days ago`;
}
