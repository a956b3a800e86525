import type { Platform } from "../../src/api/platform.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { openTestGpu } from "./gpu.ts";

export interface ObservedOptions {
  /** Sees every device before anyone uses it; it may replace its methods. */
  readonly onDevice?: (device: GPUDevice) => void;
  /** Lowers what the adapter says it can do. */
  readonly limits?: Partial<Record<keyof GPUSupportedLimits, number>>;
}

/** Node with the adapter under test, and a count of what was opened and not closed. */
export class ObservedPlatform implements Platform {
  readonly devices: GPUDevice[] = [];
  readonly destroyed = new Set<GPUDevice>();
  openSources = 0;
  readonly #options: ObservedOptions;

  constructor(options: ObservedOptions = {}) {
    this.#options = options;
  }

  readonly loadReference = nodePlatform.loadReference;
  readonly sockets = nodePlatform.sockets;

  async openGpu(options: Parameters<Platform["openGpu"]>[0]) {
    const { gpu, adapter } = options.adapter ? await nodePlatform.openGpu(options) : await openTestGpu();
    const limits = withChanges(adapter.limits, this.#options.limits ?? {});
    const requestDevice = async (descriptor: GPUDeviceDescriptor) => {
      const device = await adapter.requestDevice(descriptor);
      this.#observe(device);
      return device;
    };
    return { gpu, adapter: withChanges(adapter, { limits, requestDevice }) };
  }

  async openFiles(source: Parameters<Platform["openFiles"]>[0]) {
    const files = await nodePlatform.openFiles(source);
    this.openSources++;
    let isOpen = true;
    const close = async () => {
      if (isOpen) this.openSources--;
      isOpen = false;
      await files.close?.();
    };
    return withChanges(files, { close });
  }

  /** Devices that nobody has destroyed. */
  get openDevices(): number {
    return this.devices.length - this.destroyed.size;
  }

  #observe(device: GPUDevice): void {
    const destroy = device.destroy.bind(device);
    device.destroy = () => {
      this.destroyed.add(device);
      destroy();
    };
    this.devices.push(device);
    this.#options.onDevice?.(device);
  }
}

/** An object with some properties replaced; methods of the original still see it as `this`. */
export function withChanges<T extends object>(original: T, changes: object): T {
  return new Proxy(original, {
    get(_, name) {
      if (name in changes) return changes[name as keyof typeof changes];
      const value = original[name as keyof T];
      return typeof value === "function" ? value.bind(original) : value;
    },
  });
}
