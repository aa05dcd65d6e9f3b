/** Debian packages: which are missing, and their installation without the services that Debian starts with them. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import type { DebianPackage } from "./engine.ts";

/** Programs of servers are in `/usr/sbin`, which is not on everybody's path. */
const extraPath = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

export function extendPath(): void {
  const path = (process.env.PATH ?? "").split(delimiter);
  process.env.PATH = [...path, ...extraPath.filter((directory) => !path.includes(directory))].join(delimiter);
}

export function isInstalled({ program }: DebianPackage): boolean {
  if (isAbsolute(program)) return existsSync(program);
  const path = [...(process.env.PATH ?? "").split(delimiter), ...extraPath];
  return path.some((directory) => existsSync(join(directory, program)));
}

/** Installs what is missing. Throws, and names the packages, where we may not. */
export async function install(wanted: readonly DebianPackage[], say: (line: string) => void): Promise<void> {
  const missing = [...new Set(wanted.filter((each) => !isInstalled(each)).map((each) => each.package))];
  if (missing.length === 0) return;
  const names = missing.join(" ");
  if (!existsSync("/usr/bin/apt-get"))
    throw new Error(
      `Not installed: ${names}. These are Debian's packages, and there is no apt-get here; see compose.yaml.`,
    );
  const asRoot = rootCommand();
  if (asRoot === undefined)
    throw new Error(`Not installed: ${names}. Install them as root: apt-get install --no-install-recommends ${names}`);
  say(`installing ${names}`);
  const restore = denyServices(asRoot);
  try {
    const install = [
      ...asRoot,
      "env",
      "DEBIAN_FRONTEND=noninteractive",
      "apt-get",
      "install",
      "--yes",
      "--no-install-recommends",
      ...missing,
    ];
    // The lists of packages may be absent or old, so a failure is tried again with new ones.
    let result = await run(install);
    if (result.status !== 0) {
      await run([...asRoot, "apt-get", "update"]);
      result = await run(install);
    }
    if (result.status !== 0) throw new Error(`apt-get could not install ${names}:\n${lastLines(result.output, 15)}`);
  } finally {
    restore();
  }
}

/** What goes before a command that needs root; `undefined` when there is no way without a password. */
function rootCommand(): string[] | undefined {
  if (process.getuid?.() === 0) return [];
  return spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0 ? ["sudo", "-n"] : undefined;
}

const policy = "/usr/sbin/policy-rc.d";
const aside = `${policy}.before-tenon-engines`;
const marker = "# Made by scripts/engines while it installs packages.";

/**
 * Debian starts the services of what it installs, unless this program answers 101. Services that run already are not
 * touched by it. What an interrupted installation leaves, the next one puts back.
 */
function denyServices(asRoot: readonly string[]): () => void {
  const root = (...command: string[]): void => {
    const [program, ...rest] = [...asRoot, ...command];
    const { status, stderr } = spawnSync(program!, rest, { encoding: "utf8" });
    if (status !== 0) throw new Error(`${command.join(" ")} failed: ${stderr}`);
  };
  const isOurs = existsSync(policy) && readFileSync(policy, "utf8").includes(marker);
  if (isOurs) root("rm", "-f", policy);
  if (existsSync(aside)) root("mv", "-f", aside, policy);
  const existed = existsSync(policy);
  if (existed && spawnSync(policy, ["tenon-engines", "start"], { stdio: "ignore" }).status === 101) return () => {};
  if (existed) root("mv", policy, aside);
  root("sh", "-c", `printf '#!/bin/sh\\n${marker}\\nexit 101\\n' > ${policy} && chmod 755 ${policy}`);
  return () => (existed ? root("mv", "-f", aside, policy) : root("rm", "-f", policy));
}

function run(command: readonly string[]): Promise<{ status: number | null; output: string }> {
  const [program, ...rest] = command;
  return new Promise((settle) => {
    const child = spawn(program!, rest, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const gather = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on("data", gather);
    child.stderr.on("data", gather);
    child.on("error", (error) => settle({ status: null, output: error.message }));
    child.on("close", (status) => settle({ status, output }));
  });
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
