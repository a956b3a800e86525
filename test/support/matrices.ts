import { type MatrixShape, profileOf } from "../../src/gpu/profile.ts";
import { testDevice } from "./gpu.ts";
import type { HarnessOptions } from "./kernel-harness.ts";

/** What makes a software adapter that multiplies matrices run what a GPU would. */
export const MATRICES: HarnessOptions = { without: { serialWorkgroups: true, matrix: false } };

/** Whether the adapter under test multiplies matrices: docs/testing.md says where to find one. */
export const hasMatrices = async (): Promise<boolean> => (await matrixShape()) !== undefined;

/** The matrices that it multiplies. */
export async function matrixShape(): Promise<MatrixShape | undefined> {
  const { device, adapter, languageFeatures } = await testDevice();
  return profileOf(device, adapter.info, languageFeatures).matrix;
}
