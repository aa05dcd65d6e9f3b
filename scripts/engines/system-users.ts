import { readFileSync } from "node:fs";

export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/** `undefined` when no user is wanted, or when we are not root and servers run as ourselves. */
export function systemUser(
  name: string | undefined,
  isRoot: boolean = process.getuid?.() === 0,
  passwd: () => string = () => readFileSync("/etc/passwd", "utf8"),
): SystemUser | undefined {
  if (name === undefined || !isRoot) return undefined;
  const fields = passwd()
    .split("\n")
    .map((line) => line.split(":"))
    .find(([user]) => user === name);
  if (fields === undefined) throw new Error(`There is no system user ${name}, as its Debian package makes one.`);
  return { uid: Number(fields[2]), gid: Number(fields[3]) };
}
