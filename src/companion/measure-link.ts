import { typicalMs } from "../common/typical-ms.ts";
import type { Link } from "./link.ts";

export interface LinkSpeed {
  /** There and back. */
  readonly latencyMs: number;
  /** Both ways together. */
  readonly bytesPerSecond: number;
}

const PINGS = 9;
const PROBES = 3;
const PROBE_BYTES = 2 ** 17;

/** What a link carries as a rule: small round trips, and what larger ones take longer. */
export async function measureLink(link: Link): Promise<LinkSpeed> {
  const trips = (stretches: number, bytes: number) =>
    typicalMs(() => link.call({ kind: "ping" }, bytes > 0 ? [new Uint8Array(bytes)] : []), { stretch: 1, stretches });
  const latencyMs = await trips(PINGS, 0);
  // The first one, which does not count, opens the window of the connection.
  const probeMs = await trips(PROBES, PROBE_BYTES);
  return { latencyMs, bytesPerSecond: (2 * PROBE_BYTES * 1000) / Math.max(probeMs - latencyMs, 0.1) };
}
