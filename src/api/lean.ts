import type { Link } from "../companion/link.ts";
import { Link as CompanionLink } from "../companion/link.ts";
import { type LinkSpeed, measureLink } from "../companion/measure-link.ts";
import type { Welcome } from "../companion/protocol.ts";
import { CompanionError } from "../errors.ts";
import type { ExpertShape } from "../paging/expert-host.ts";
import { companionOptions } from "./companion-options.ts";
import type { Platform } from "./platform.ts";
import { unpackError } from "./port.ts";
import type { CompanionInfo, CompanionMode, CompanionOptions } from "./types.ts";

/** A companion that is there, and what it is to do. */
export interface Lean {
  readonly link: Link;
  readonly info: CompanionInfo;
  readonly fallback: boolean;
}

/** What a model has to know of itself before it leans on another. */
export interface Own {
  readonly fingerprint: string;
  /** Undefined where it has no experts. */
  readonly experts: ExpertShape | undefined;
  /** Tokens a second that each way promises. */
  readonly predict: (welcome: Welcome, speed: LinkSpeed) => Promise<CompanionInfo["predicted"]>;
}

/** Links to a companion, and settles what it is to do. @throws CompanionError */
export async function leanOn(platform: Platform, companion: string | CompanionOptions, own: Own): Promise<Lean> {
  const { url, key, mode = "auto", fallback = true, patienceMs } = companionOptions(companion);
  const openSocket = await platform.sockets();
  const link = await CompanionLink.open({ url, key, openSocket, unpackError, patienceMs });
  try {
    const { welcome } = link;
    if (welcome.fingerprint !== own.fingerprint) {
      const message = `The companion ${url} serves another model, ${welcome.label}: ${welcome.fingerprint}, not ${own.fingerprint}.`;
      throw new CompanionError("model", message);
    }
    if (mode === "experts" && !welcome.experts) {
      throw new CompanionError(
        "model",
        `The companion ${url} has no experts for others to compute with${welcome.lacks ? `: ${welcome.lacks}` : ""}. Try mode "requests".`,
      );
    }
    const speed = await measureLink(link);
    const measured = { ...speed, hostTokensPerSecond: welcome.tokensPerSecond };
    if (mode !== "auto") {
      return { link, fallback, info: { url, mode, reason: "It was asked for.", ...measured, predicted: {} } };
    }
    const predicted = await own.predict(welcome, speed);
    return { link, fallback, info: { url, ...choose(predicted), ...measured, predicted } };
  } catch (error) {
    link.close();
    throw error;
  }
}

/** What promises most. Where it makes next to no difference, what leaves more of the work here. */
export function choose(predicted: CompanionInfo["predicted"]): Pick<CompanionInfo, "mode" | "reason"> {
  const ways = ["none", "experts", "layers", "requests"] as const;
  const best = Math.max(...ways.map((way) => predicted[way] ?? 0));
  const mode = ways.find((way) => (predicted[way] ?? 0) >= NEARLY * best)!;
  const speeds = ways.filter((way) => predicted[way]).map((way) => `${NAMES[way]} ${predicted[way]!.toFixed(1)}`);
  return { mode, reason: `Tokens a second that are to be expected: ${speeds.join(", ")}.` };
}

const NEARLY = 0.95;

const NAMES: Record<CompanionMode | "none", string> = {
  none: "here alone",
  experts: "with experts elsewhere",
  layers: "with layers elsewhere",
  requests: "elsewhere",
};
