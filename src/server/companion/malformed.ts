import { CompanionError } from "../../errors.ts";

/** What ends a connection. */
export const malformed = (message: string): CompanionError =>
  new CompanionError("malformed", `What was sent is not of this protocol: ${message}`);
