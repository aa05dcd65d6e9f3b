import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The commit that is checked out, and whether the files are still its: a seed replays a run of that code only. */
export function commitOfCode(): string {
  try {
    const commit = git("rev-parse", "--short=12", "HEAD");
    return git("status", "--porcelain") === "" ? commit : `${commit} (modified)`;
  } catch {
    return "unknown: this is no checkout of git";
  }
}

function git(...parameters: readonly string[]): string {
  return execFileSync("git", parameters, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
}
