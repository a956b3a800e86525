import { invariant } from "../../../errors.ts";
import type { DeviceProfile } from "../../../gpu/profile.ts";
import { canFuse, type DecodeKernels } from "./fused.ts";

let fetched: typeof import("./batched.ts") | undefined;

/** Fetches what decode steps of several sequences need: a page with one has no use for it, and recording cannot wait. */
export async function fetchBatched(profile: DeviceProfile, maxSequences = 1): Promise<void> {
  if (maxSequences > 1 && profile.fuseDecode && canFuse(profile)) fetched ??= await import("./batched.ts");
}

export function batchedKernels(): DecodeKernels {
  invariant(fetched, "the kernels of several sequences have not been fetched");
  return fetched.batchedKernels();
}
