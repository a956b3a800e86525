import { Link, type OpenSocket } from "../companion/link.ts";
import { measureLink } from "../companion/measure-link.ts";
import { checkCompanion, companionOptions } from "./companion-options.ts";
import { unpackError } from "./port.ts";
import type { CompanionOptions, CompanionProbe } from "./types.ts";

/** Links to a companion, measures the way there, and leaves again. @throws CompanionError */
export async function probeCompanion(
  openSocket: OpenSocket,
  companion: string | CompanionOptions,
): Promise<CompanionProbe> {
  checkCompanion(companion);
  const { url, key, patienceMs } = companionOptions(companion);
  const link = await Link.open({ url, key, openSocket, unpackError, patienceMs });
  try {
    const { label, maxContext, tokensPerSecond: hostTokensPerSecond, experts, layers } = link.welcome;
    const speed = await measureLink(link);
    const can = { hasExperts: experts !== undefined, hasLayers: layers !== undefined };
    return { label, maxContext, ...can, hostTokensPerSecond, ...speed };
  } finally {
    link.close();
  }
}
