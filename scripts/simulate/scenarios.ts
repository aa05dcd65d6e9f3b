import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The scenarios of a directory are its modules, called as their files; none when there is no such directory. */
export function scenariosIn(directory: URL): readonly string[] {
  try {
    return readdirSync(fileURLToPath(directory))
      .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
      .map((file) => file.slice(0, -".ts".length))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
