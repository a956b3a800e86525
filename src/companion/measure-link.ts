import type { Link } from "./link.ts";

export interface LinkSpeed {
  /** There and back. */
  readonly latencyMs: number;
  /** Both ways together. */
  readonly bytesPerSecond: number;
}

const PINGS = 7;
const PROBE_BYTES = 2 ** 17;

/** What a link can carry: the median of some small round trips, and what a larger one takes longer. */
export async function measureLink(link: Link): Promise<LinkSpeed> {
  const timed = async (bytes: number) => {
    const startMs = performance.now();
    await link.call({ kind: "ping" }, bytes > 0 ? [new Uint8Array(bytes)] : []);
    return performance.now() - startMs;
  };
  const pings: number[] = [];
  for (let i = 0; i < PINGS; i++) pings.push(await timed(0));
  const latencyMs = pings.sort((a, b) => a - b)[PINGS >> 1];
  // The first one opens the window of the connection.
  await timed(PROBE_BYTES);
  const probeMs = await timed(PROBE_BYTES);
  return { latencyMs, bytesPerSecond: (2 * PROBE_BYTES * 1000) / Math.max(probeMs - latencyMs, 0.1) };
}
