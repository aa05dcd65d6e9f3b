import { nameBytes } from "../../shared/key-values/names.ts";

const inclusive = Buffer.from("[");
const exclusive = Buffer.from("(");
/** Greater than every byte of a name. */
const beyond = Buffer.from([0xff]);

/** The bounds of the names that start with the prefix and are greater than `after`, as ZRANGE BYLEX takes them. */
export function boundsOf(prefix: string, after: string | undefined): readonly [from: Buffer, to: Buffer] {
  const to = prefix === "" ? Buffer.from("+") : Buffer.concat([exclusive, nameBytes(prefix), beyond]);
  if (after !== undefined && after >= prefix) return [Buffer.concat([exclusive, nameBytes(after)]), to];
  return [prefix === "" ? Buffer.from("-") : Buffer.concat([inclusive, nameBytes(prefix)]), to];
}
