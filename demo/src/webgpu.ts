/** Why there is no WebGPU here. */
export type Obstacle = "insecure" | "no-api" | "no-adapter";

export async function findObstacle(): Promise<Obstacle | undefined> {
  if (!isSecureContext) return "insecure";
  if (!navigator.gpu) return "no-api";
  return (await navigator.gpu.requestAdapter().catch(() => null)) ? undefined : "no-adapter";
}

export type Browser = "chrome" | "firefox" | "safari";

/** Whose advice to show first; being wrong costs the reader one click. */
export function browserAtHand(userAgent = navigator.userAgent): Browser {
  if (/firefox|fxios/i.test(userAgent)) return "firefox";
  if (/chrom|edg|crios/i.test(userAgent)) return "chrome";
  return /safari/i.test(userAgent) ? "safari" : "chrome";
}
