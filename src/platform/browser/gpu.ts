import type { DeviceOptions } from "../../api/types.ts";
import { UnsupportedDeviceError } from "../../errors.ts";
import type { DeviceRequest } from "../../gpu/device.ts";

/** @throws UnsupportedDeviceError where the browser has no WebGPU, or no adapter */
export async function openGpu({ adapter: preference }: DeviceOptions): Promise<DeviceRequest> {
  if (!isSecureContext) {
    throw new UnsupportedDeviceError("none", "WebGPU needs a secure page: serve it over https, or from localhost.");
  }
  const { gpu } = navigator;
  if (!gpu) {
    throw new UnsupportedDeviceError(
      "none",
      "This browser has no WebGPU. Use a current Chrome, Edge, Safari 26 or Firefox, with hardware acceleration on.",
    );
  }
  const powerPreference = preference === "low-power" ? "low-power" : "high-performance";
  const adapter = await gpu.requestAdapter({ powerPreference });
  if (!adapter) {
    throw new UnsupportedDeviceError(
      "none",
      "This browser has WebGPU but offers no adapter. Update the graphics driver, or turn hardware acceleration on.",
    );
  }
  return { gpu, adapter };
}
