import { Link } from "../companion/link.ts";
import { type LinkSpeed, measureLink } from "../companion/measure-link.ts";
import { CompanionError } from "../errors.ts";
import type { LayerChoice } from "../stages/page-layers.ts";
import { companionOptions } from "./companion-options.ts";
import type { Platform } from "./platform.ts";
import { unpackError } from "./port.ts";
import type { CompanionInfo, CompanionMode, CompanionOptions } from "./types.ts";

/** A companion that is there, and what it is to do. */
export interface Lean {
  readonly link: Link;
  readonly mode: CompanionMode;
  readonly info: CompanionInfo;
  readonly fallback: boolean;
  /** In mode `layers`, where it is not for the options to say. */
  readonly choice?: LayerChoice;
}

/** Links to a companion that has the same model. @throws CompanionError */
export async function openLink(
  platform: Platform,
  companion: string | CompanionOptions,
  fingerprint: string,
): Promise<Link> {
  const { url, key, patienceMs } = companionOptions(companion);
  const link = await Link.open({ url, key, openSocket: await platform.sockets(), unpackError, patienceMs });
  const { welcome } = link;
  if (welcome.fingerprint === fingerprint) return link;
  link.close();
  const message = `The companion ${url} serves another model, ${welcome.label}: ${welcome.fingerprint}, not ${fingerprint}.`;
  throw new CompanionError("model", message);
}

/** Links to a companion for one purpose; measures the link where `known` does not say it already. @throws CompanionError */
export async function leanOn(
  platform: Platform,
  companion: string | CompanionOptions,
  fingerprint: string,
  mode: CompanionMode,
  known?: LinkSpeed,
): Promise<Lean> {
  const link = await openLink(platform, companion, fingerprint);
  try {
    const { url, fallback = true } = companionOptions(companion);
    if (mode === "experts" && !link.welcome.experts) {
      const why = link.welcome.lacks ? `: ${link.welcome.lacks}` : "";
      throw new CompanionError(
        "model",
        `The companion ${url} has no experts for others to compute with${why}. Try mode "requests".`,
      );
    }
    const measured = measuredInfo(link, known ?? (await measureLink(link)));
    const info = { url, mode, reason: "It was asked for.", ...measured, predicted: {}, tried: {} };
    return { link, mode, fallback, info };
  } catch (error) {
    link.close();
    throw error;
  }
}

export const measuredInfo = ({ welcome }: Link, { latencyMs, bytesPerSecond }: LinkSpeed) => ({
  latencyMs,
  bytesPerSecond,
  hostTokensPerSecond: welcome.tokensPerSecond,
});
