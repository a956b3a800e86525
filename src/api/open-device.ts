import { Device } from "../gpu/device.ts";
import type { Platform } from "./platform.ts";
import type { LoadOptions, ModelInfo } from "./types.ts";

export interface OpenedDevice {
  readonly device: Device;
  readonly kvFormat: "f32" | "f16";
  readonly adapter: ModelInfo["adapter"];
}

/** The device that `options` ask for. @throws UnsupportedDeviceError */
export async function openDevice(platform: Platform, options: LoadOptions["device"] = {}): Promise<OpenedDevice> {
  const { dtype = "auto", precise } = options;
  const device = await Device.open({ ...(await platform.openGpu(options)), withoutF16: dtype === "f32", precise });
  const { profile, name, isSoftware } = device;
  const kvFormat = dtype === "f16" || (dtype === "auto" && profile.f16) ? "f16" : "f32";
  return { device, kvFormat, adapter: { name, isSoftware, dtype: kvFormat, subgroups: profile.subgroups } };
}
