import { TenonError } from "../../../contracts/errors.ts";

export const nameBytesMax = 512;

/** Which characters a name may have is the messaging block's to say; the engine only needs it to be short. */
export function checkName(what: string, name: string): void {
  if (!name.isWellFormed()) throw new TenonError("invalid", `a ${what} name must be well-formed Unicode`);
  if (name.length > 0 && Buffer.byteLength(name) <= nameBytesMax) return;
  throw new TenonError("invalid", `a ${what} name needs 1 to ${nameBytesMax} bytes, not ${Buffer.byteLength(name)}`);
}
