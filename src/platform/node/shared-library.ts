import { constants } from "node:os";

/**
 * Loads a shared library into the process for good, by path or by the name that the system's linker knows.
 *
 * @returns false when there is none.
 */
export function loadSharedLibrary(library: string): boolean {
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
    return true;
  } catch (error) {
    // Node expects an addon, objects that this is none, and would unload it but for RTLD_NODELETE.
    return String(error).includes("self-register");
  }
}
