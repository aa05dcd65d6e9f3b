/**
 * Embeds the Lua scripts of the Redis engine as text modules, so that the published package needs no files beside its code:
 * `node scripts/lua.ts` writes a `scripts.ts` beside the scripts of each folder, `--check` only says which are not as they should be.
 *
 * A line `-- include: name.part.lua` stands for the text of that file, in the same folder or a path from it.
 */
import { createHash } from "node:crypto";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const engineFolder = join(root, "src/engines/redis");

/** The text of each module, by its path. */
export function scriptModules(): Map<string, string> {
  const folders = new Map<string, string[]>();
  for (const path of globSync("**/*.lua", { cwd: engineFolder }).sort()) {
    if (path.endsWith(".part.lua")) continue;
    const folder = dirname(path);
    folders.set(folder, [...(folders.get(folder) ?? []), path]);
  }
  return new Map(
    [...folders].map(([folder, paths]) => [join(engineFolder, folder, "scripts.ts"), moduleOf(folder, paths)]),
  );
}

function moduleOf(folder: string, paths: readonly string[]): string {
  const up = folder === "." ? "./" : "../".repeat(folder.split(sep).length);
  const parts = new Map<string, string>();
  const constants = paths.map((path) => {
    const pieces = piecesOf(join(engineFolder, path), parts);
    const stem = path.slice(folder === "." ? 0 : folder.length + 1, -".lua".length);
    const name = path.slice(0, -".lua".length).replaceAll(sep, "/");
    const sha = createHash("sha1")
      .update(sourceOf(join(engineFolder, path)))
      .digest("hex");
    return `export const ${constantOf(stem)}: Script = {\n  name: "${name}",\n  sha: "${sha}",\n  source: \`${pieces}\`,\n};\n`;
  });
  return [
    "// Made by scripts/lua.ts from the .lua files of this folder; edit those.\n",
    `import type { Script } from "${up}script.ts";\n`,
    "\n",
    ...[...parts.values()].map((part) => `${part}\n`),
    constants.join("\n"),
  ].join("");
}

/** The text of a file for a template, with the names of the constants that hold the texts of what it includes; adds those to `parts`. */
function piecesOf(path: string, parts: Map<string, string>): string {
  const pieces = readFileSync(path, "utf8").split(/^-- include: (\S+)\n/m);
  return pieces
    .map((piece, index) => {
      if (index % 2 === 0) return piece.replace(/[\\`]|\$(?=\{)/g, "\\$&");
      const included = join(dirname(path), piece);
      const name = `${constantOf(basename(included, ".part.lua"))}Part`;
      if (!parts.has(included)) {
        const text = piecesOf(included, parts);
        parts.set(included, `const ${name} = \`${text}\`;\n`);
      }
      return `\${${name}}`;
    })
    .join("");
}

function sourceOf(path: string): string {
  return readFileSync(path, "utf8").replace(/^-- include: (\S+)\n/gm, (_, included: string) =>
    sourceOf(join(dirname(path), included)),
  );
}

/** `commit-lane` becomes `commitLane`. */
function constantOf(stem: string): string {
  return stem.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The modules that are not what the scripts make them. */
export function staleModules(): string[] {
  const stale: string[] = [];
  for (const [path, text] of scriptModules()) if (readIfThere(path) !== text) stale.push(relative(root, path));
  return stale;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const stale = staleModules();
  if (process.argv.includes("--check")) {
    if (stale.length > 0) console.error(`Run "node scripts/lua.ts": ${stale.join(", ")} differ from their .lua files.`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    const modules = scriptModules();
    for (const path of stale) writeFileSync(join(root, path), modules.get(join(root, path))!);
    console.log(stale.length === 0 ? "The scripts are embedded as they are." : `Embedded anew: ${stale.join(", ")}`);
  }
}
