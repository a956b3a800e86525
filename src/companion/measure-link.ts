import type { Link } from "./link.ts";

export interface LinkSpeed {
  /** There and back. */
  readonly latencyMs: number;
  /** Both ways together. */
  readonly bytesPerSecond: number;
}

const PINGS = 7;
const PROBES = 3;
const PROBE_BYTES = 2 ** 17;

/** What a link can carry: the fastest of some small round trips, and what larger ones take longer. */
export async function measureLink(link: Link): Promise<LinkSpeed> {
  const timed = async (bytes: number) => {
    const startMs = performance.now();
    await link.call({ kind: "ping" }, bytes > 0 ? [new Uint8Array(bytes)] : []);
    return performance.now() - startMs;
  };
  const fastest = async (count: number, bytes: number) => {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < count; i++) least = Math.min(least, await timed(bytes));
    return least;
  };
  const latencyMs = await fastest(PINGS, 0);
  // The first one opens the window of the connection.
  const probeMs = await fastest(PROBES, PROBE_BYTES);
  return { latencyMs, bytesPerSecond: (2 * PROBE_BYTES * 1000) / Math.max(probeMs - latencyMs, 0.1) };
}
